// kafkajs in a group. Arguments and log are those of group_records.py.
const fs = require('fs')
const { package: load } = require('./records')
const { Kafka, logLevel } = load('kafkajs')

const [bootstrap, groupId, topic, log] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { retries: 100, maxRetryTime: 1000 } })
const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200, metadataMaxAge: 1000 })

async function run() {
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  // It commits what was processed after each batch.
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => fs.appendFileSync(log, `${topic} ${partition} ${message.offset}\n`),
  })
}

process.stdin.resume()
process.stdin.on('end', () => consumer.disconnect().then(() => process.exit(0)))
run().catch(error => { console.error(error); process.exit(1) })
