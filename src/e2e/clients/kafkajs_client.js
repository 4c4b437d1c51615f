// kafkajs: create, produce with idempotence, verify. It consumes only in groups, so verifying goes through its broker.fetch.
const path = require('path')
const modules = path.join(process.env.FLOE_E2E_NPM, 'node_modules')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require(path.join(modules, 'kafkajs'))
const Cluster = require(path.join(modules, 'kafkajs/src/cluster'))
const Snappy = require(path.join(modules, 'kafkajs-snappy'))
CompressionCodecs[CompressionTypes.Snappy] = Snappy

const [bootstrap, command, topic, codec, nText, seedText, t0Text] = process.argv.slice(2)
const n = Number(nText), seed = Number(seedText), t0 = Number(t0Text)
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })

// The records of records.py.
function record(i) {
  const key = i % 5 === 0 ? null : i % 5 === 1 ? Buffer.alloc(0) : Buffer.from(`key-${seed}-${i}`)
  const size = i === n - 1 ? 1040000 : i % 7 === 0 && i % 5 !== 0 ? -1 : i % 7 < 2 ? 0 : 10 + (i * 37) % 900
  const value = size < 0 ? null : Buffer.alloc(size)
  let x = (seed * 7919 + i * 104729 + 1) >>> 0
  for (let j = 0; j < size; j++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    value[j] = 32 + (x >>> 26)
  }
  const headers = {}
  if (i % 3 > 0) headers.trace = Buffer.from(String(i))
  if (i % 3 > 1) headers.empty = Buffer.alloc(0)
  return { key, value, headers, timestamp: String(t0 + i * 1000), partition: 0 }
}

const same = (a, b) => (a === null || b === null ? a === b : Buffer.compare(a, b) === 0)

async function produce() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const compression = { none: 0, gzip: 1, snappy: 2 }[codec]
  for (let i = 0; i < n; ) {
    const end = i === n - 1 ? n : Math.min(i + 50, n - 1) // the large record goes alone
    const messages = []
    for (; i < end; i++) messages.push(record(i))
    await producer.send({ topic, messages, compression, acks: -1 })
  }
  await producer.disconnect()
}

async function read(broker, first) {
  let next = first
  const limit = Date.now() + 60000
  while (next < n) {
    if (Date.now() > limit) throw new Error(`from ${first}: only up to ${next} within a minute`)
    const answer = await broker.fetch({
      maxWaitTime: 500, minBytes: 1, maxBytes: 8 << 20, isolationLevel: 1,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset: String(next), maxBytes: 8 << 20 }] }],
    })
    for (const have of answer.responses[0].partitions[0].messages) {
      if (Number(have.offset) < next) continue // whole batches come, also from before the offset
      const want = record(next)
      const headers = Object.keys(want.headers)
      if (Number(have.offset) !== next || have.timestamp !== want.timestamp || !same(have.key, want.key) || !same(have.value, want.value) ||
          headers.join() !== Object.keys(have.headers).join() || headers.some(h => !same(have.headers[h], want.headers[h]))) {
        throw new Error(`record ${next} differs: offset ${have.offset}, timestamp ${have.timestamp}, key ${have.key}`)
      }
      next++
    }
  }
}

async function verify() {
  const admin = kafka.admin()
  await admin.connect()
  const at = Number((await admin.fetchTopicOffsetsByTimestamp(topic, t0 + Math.floor(n / 3) * 1000))[0].offset)
  if (at !== Math.floor(n / 3)) throw new Error(`offset by time is ${at}, expected ${Math.floor(n / 3)}`)
  await admin.disconnect()
  const { createLogger, LEVELS } = require(path.join(modules, 'kafkajs/src/loggers'))
  const logger = createLogger({ level: LEVELS.ERROR, logCreator: require(path.join(modules, 'kafkajs/src/loggers/console')) })
  const socketFactory = require(path.join(modules, 'kafkajs/src/network/socketFactory'))()
  const cluster = new Cluster({
    logger, socketFactory, brokers: [bootstrap], clientId: 'e2e', connectionTimeout: 5000, authenticationTimeout: 5000,
    reauthenticationThreshold: 10000, requestTimeout: 30000, enforceRequestTimeout: true, metadataMaxAge: 300000, maxInFlightRequests: null,
    allowAutoTopicCreation: false, isolationLevel: 1, retry: {}, instrumentationEmitter: null,
    offsets: new Map(),
  })
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const leader = cluster.findTopicPartitionMetadata(topic)[0].leader
  const broker = await cluster.findBroker({ nodeId: leader })
  await read(broker, 0)
  await read(broker, Math.floor(n / 2))
  await read(broker, at)
  await cluster.disconnect()
}

async function create() {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }] })
  await admin.disconnect()
}

({ create, produce, verify })[command]().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
