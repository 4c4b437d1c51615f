// kafkajs: create, produce with idempotence, verify. It consumes only in groups, so verifying goes through its broker.fetch.
const { main, package: load, read, record, times } = require('./records')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = load('kafkajs')
const Cluster = load('kafkajs/src/cluster')
const { lz4Compress, lz4Decompress } = load('@platformatic/wasm-utils')
CompressionCodecs[CompressionTypes.Snappy] = load('kafkajs-snappy')
// kafkajs-lz4 would have to be compiled here, for the very Node that runs it.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4Compress(encoder.buffer),
  decompress: async bytes => lz4Decompress(bytes),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => (await require('./zstd')).zstdCompressSync(encoder.buffer),
  decompress: async bytes => (await require('./zstd')).zstdDecompressSync(bytes),
})

const bootstrap = process.argv[2]
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })

async function write(topic, codec, n, t0) {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }] })
  await admin.disconnect()
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const compression = ['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(codec)
  for (let i = 0; i < n;) {
    const end = i === n - 1 ? n : Math.min(i + 50, n - 1) // the large record goes alone
    const messages = []
    for (; i < end; i++) {
      const { key, value, headers, timestamp } = record('kafkajs', i, n, t0)
      messages.push({ key, value, headers: Object.fromEntries(headers), timestamp: String(timestamp), partition: 0 })
    }
    await producer.send({ topic, messages, compression, acks: -1 })
  }
  await producer.disconnect()
}

function cluster() {
  const { createLogger, LEVELS } = load('kafkajs/src/loggers')
  const logger = createLogger({ level: LEVELS.ERROR, logCreator: load('kafkajs/src/loggers/console') })
  return new Cluster({
    logger, socketFactory: load('kafkajs/src/network/socketFactory')(), brokers: [bootstrap], clientId: 'e2e',
    connectionTimeout: 5000, authenticationTimeout: 5000, reauthenticationThreshold: 10000, requestTimeout: 30000,
    enforceRequestTimeout: true, metadataMaxAge: 300000, maxInFlightRequests: null, allowAutoTopicCreation: false,
    isolationLevel: 1, retry: {}, instrumentationEmitter: null, offsets: new Map(),
  })
}

async function verify(topic, n, t0) {
  const connected = cluster()
  await connected.connect()
  await connected.addTargetTopic(topic)
  const broker = await connected.findBroker({ nodeId: connected.findTopicPartitionMetadata(topic)[0].leader })
  const fetch = async offset => {
    const answer = await broker.fetch({
      maxWaitTime: 500, minBytes: 1, maxBytes: 8 << 20, isolationLevel: 1,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset: String(offset), maxBytes: 8 << 20 }] }],
    })
    return answer.responses[0].partitions[0].messages.map(({ offset, timestamp, key, value, headers }) =>
      ({ offset: Number(offset), timestamp: Number(timestamp), key, value, headers: Object.entries(headers) }))
  }
  await read(topic, 0, n, t0, fetch)
  await read(topic, Math.floor(n / 2), n, t0, fetch)
  for (const [timestamp, expected] of times(topic, n, t0)) {
    const admin = kafka.admin()
    await admin.connect()
    const at = Number((await admin.fetchTopicOffsetsByTimestamp(topic, timestamp))[0].offset)
    await admin.disconnect()
    if (at !== expected) throw new Error(`offset by time is ${at}, expected ${expected}`)
    await read(topic, at, n, t0, fetch)
  }
  await connected.disconnect()
}

main(write, verify)
