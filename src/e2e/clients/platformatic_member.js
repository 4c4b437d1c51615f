// @platformatic/kafka in a group. Arguments and log are those of group_records.py.
//
// An error on its way to the coordinator ends a stream of this client, which leaves what comes then to whoever uses it: here another consumer,
// that joins the group as a new member.
const fs = require('fs')
const path = require('path')

const [bootstrap, groupId, topic, log, protocol] = process.argv.slice(2)
// Loaded only when Node's zlib has what it takes from there.
const loaded = require('./zstd').then(() =>
  import(path.join(process.env.FLOE_E2E_NPM, 'node_modules/@platformatic/kafka/dist/index.js')))
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
let over = false
let stream

async function work({ Consumer }) {
  const group = protocol === 'consumer' ? { groupProtocol: 'consumer' } : { sessionTimeout: 6000, heartbeatInterval: 500 }
  const consumer = new Consumer({ clientId: 'member', groupId, bootstrapBrokers: [bootstrap], metadataMaxAge: 1000, ...group })
  try {
    stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false, maxWaitTime: 200 })
    if (over) stream.close()
    for await (const message of stream) {
      fs.appendFileSync(log, `${message.topic} ${message.partition} ${message.offset}\n`)
      // A rebalance or a restart came between: the records come again.
      await message.commit().catch(error => console.log(error.message))
    }
  } finally {
    // It leaves the group; without a broker there is nothing to wait for.
    await Promise.race([consumer.close(true).catch(error => console.log(error.message)), pause(2000)])
  }
}

async function run() {
  const client = await loaded
  while (!over) {
    await work(client).catch(error => console.log(error.message))
    if (!over) await pause(200)
  }
  process.exit(0)
}

process.stdin.resume()
process.stdin.on('end', () => {
  over = true
  if (stream) stream.close()
})
process.on('unhandledRejection', error => console.log(error))
run()
