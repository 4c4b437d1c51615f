// The copier of the exactly-once tests with kafkajs. Arguments and log are those of eos.py, what it does is what eos_copy.py does, but for this: kafkajs
// does not tell the broker which member of the group commits offsets in a transaction. So each partition of `in` has a transactional id of its own, and
// who comes to have the partition takes that over first and only then looks where to begin: its predecessor is fenced, and what that one had decided stands.
const fs = require('fs')
const { package: load } = require('./records')
const { Kafka, logLevel } = load('kafkajs')

const [bootstrap, name, processNumber, log] = process.argv.slice(2)
const PARTITIONS = 4
const ABORTED_EVERY = 5
const GROUP = 'copiers'
const lines = fs.openSync(log, 'a')
const count = fs.openSync(log + '.count', 'w')

const line = what => fs.writeSync(lines, JSON.stringify(what) + '\n')
const tell = (type, f, value, more) => line({ process: Number(processNumber), type, f, value, ...more })
const dealtWith = number => fs.writeSync(count, String(number).padStart(20), 0)
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

const retry = { retries: 100, initialRetryTime: 50, maxRetryTime: 500 }
const kafka = new Kafka({ clientId: name, brokers: [bootstrap], logLevel: logLevel.ERROR, retry, requestTimeout: 10000 })
const consumer = kafka.consumer({ groupId: GROUP, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200, maxBytesPerPartition: 4096 })
const admin = kafka.admin()
// The producers of the partitions that this member has, by partition.
const producers = new Map()
let joins = 0
let attempts = 0
let copied = 0
let over = false

async function drop (partition) {
  const producer = producers.get(partition)
  producers.delete(partition)
  if (producer) await producer.disconnect().catch(error => console.log(`${error}`))
}

// Takes the partition's transactional id over; says where the partition is to be read from.
async function take (partition) {
  const producer = kafka.producer({ transactionalId: `js-${partition}`, maxInFlightRequests: 1, idempotent: true, transactionTimeout: 10000, retry })
  await producer.connect()
  producers.set(partition, producer)
  // Only a transaction takes the id over (connecting makes an identity without it); an empty one ends without a word to the broker.
  await (await producer.transaction()).abort()
  const [{ partitions }] = await admin.fetchOffsets({ groupId: GROUP, topics: ['in'] })
  const committed = partitions.find(it => it.partition === partition)
  return committed ? Math.max(Number(committed.offset), 0) : 0
}

async function copy (batch, resolveOffset) {
  const partition = batch.partition
  const tag = `${processNumber}.${++attempts}`
  const joined = joins
  const sent = batch.messages.map(message => Number(message.value)).map(number => [Math.floor(number / 3) % PARTITIONS, `${number}#${tag}`])
  const polled = { [`in-${partition}`]: batch.messages.map(message => [Number(message.offset), String(message.value)]) }
  const value = [['poll', polled], ...sent.map(([to, what]) => ['send', `out-${to}`, what])]
  const more = () => joined === joins ? {} : { rebalanced: [`in-${partition}`] }
  tell('invoke', 'txn', value)
  let transaction
  try {
    transaction = await producers.get(partition).transaction()
    await transaction.send({ topic: 'out', acks: -1, messages: sent.map(([to, what]) => ({ partition: to, value: what })) })
    const isAborted = attempts % ABORTED_EVERY === 0
    if (!isAborted || attempts % (2 * ABORTED_EVERY)) {
      const offset = String(Number(batch.lastOffset()) + 1)
      await transaction.sendOffsets({ consumerGroupId: GROUP, topics: [{ topic: 'in', partitions: [{ partition, offset }] }] })
    }
    if (isAborted) {
      await sleep(50)
      await transaction.abort()
      tell('fail', 'txn', value, more())
      return
    }
    line({ deciding: tag, at: Number(process.hrtime.bigint()) })
    await transaction.commit()
    tell('ok', 'txn', value, more())
    resolveOffset(batch.lastOffset())
    copied += batch.messages.length
    dealtWith(copied)
  } catch (error) {
    // Fenced, or nobody knows: the next look takes the transactional id anew, and begins at what is committed.
    console.log(`${tag}: ${error}`)
    tell('info', 'txn', value, more())
    tell('ok', 'rebalance', [`in-${partition}`])
    await drop(partition)
  }
}

async function run () {
  dealtWith(0)
  await admin.connect()
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    console.log(`crashed: ${payload.error}, restarts: ${payload.restart}`)
    if (!payload.restart) process.exit(1)
  })
  consumer.on(consumer.events.GROUP_JOIN, () => {
    joins++
    tell('ok', 'rebalance', [])
    for (const partition of [...producers.keys()]) drop(partition)
  })
  consumer.on(consumer.events.HEARTBEAT, () => dealtWith(copied))
  await consumer.connect()
  await consumer.subscribe({ topics: ['in'], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, isRunning, isStale }) => {
      const partition = batch.partition
      if (!isRunning() || isStale() || over) return
      if (!producers.has(partition)) {
        const from = await take(partition)
        if (from !== Number(batch.messages[0].offset)) {
          consumer.seek({ topic: 'in', partition, offset: String(from) })
          return
        }
      }
      await copy(batch, resolveOffset)
    },
  })
}

process.stdin.resume()
process.stdin.on('end', async () => {
  over = true
  await consumer.disconnect()
  await Promise.all([...producers.keys()].map(drop))
  await admin.disconnect()
  process.exit(0)
})
run().catch(error => { console.error(error); process.exit(1) })
