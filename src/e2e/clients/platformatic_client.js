// @platformatic/kafka: create, produce with idempotence, verify. Its streams need a group, so verifying goes through consumer.fetch.
const path = require('path')
const { main, read, record, times } = require('./records')

const bootstrap = process.argv[2]
// Loaded only when Node's zlib has what it takes from there.
const loaded = require('./zstd').then(() =>
  import(path.join(process.env.FLOE_E2E_NPM, 'node_modules/@platformatic/kafka/dist/index.js')))
const options = { clientId: 'e2e', bootstrapBrokers: [bootstrap] }

async function write(topic, codec, n, t0) {
  const { Admin, Producer } = await loaded
  const admin = new Admin(options)
  await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  await admin.close()
  const producer = new Producer({ ...options, idempotent: true })
  for (let i = 0; i < n;) {
    const end = i === n - 1 ? n : Math.min(i + 50, n - 1) // the large record goes alone
    const messages = []
    for (; i < end; i++) {
      const { key, value, headers, timestamp } = record('platformatic', i, n, t0)
      messages.push({ topic, key, value, partition: 0, timestamp: BigInt(timestamp),
        headers: new Map(headers.map(([name, value]) => [Buffer.from(name), value])) })
    }
    await producer.send({ messages, compression: codec, acks: -1 })
  }
  await producer.close()
}

async function verify(topic, n, t0) {
  const { Consumer } = await loaded
  const consumer = new Consumer({ ...options, groupId: 'unused', maxWaitTime: 500 })
  const metadata = await consumer.metadata({ topics: [topic] })
  const { id, partitions } = metadata.topics.get(topic)
  const fetch = async offset => {
    const answer = await consumer.fetch({
      node: partitions[0].leader, maxWaitTime: 500, minBytes: 1, maxBytes: 8 << 20,
      topics: [{ topicId: id, partitions: [{ partition: 0, currentLeaderEpoch: -1, fetchOffset: BigInt(offset), lastFetchedEpoch: -1,
        partitionMaxBytes: 8 << 20 }] }],
    })
    return (answer.responses[0].partitions[0].records ?? []).flatMap(batch => batch.records.map(have => ({
      offset: Number(batch.firstOffset) + have.offsetDelta, timestamp: Number(batch.firstTimestamp + have.timestampDelta),
      key: have.key ?? null, value: have.value ?? null, headers: [...have.headers].map(([name, value]) => [name.toString(), value]),
    })))
  }
  await read(topic, 0, n, t0, fetch)
  await read(topic, Math.floor(n / 2), n, t0, fetch)
  for (const [timestamp, expected] of times(topic, n, t0)) {
    const at = Number((await consumer.listOffsets({ topics: [topic], timestamp: BigInt(timestamp) })).get(topic)[0])
    if (at !== expected) throw new Error(`offset by time is ${at}, expected ${expected}`)
    await read(topic, at, n, t0, fetch)
  }
  await consumer.close()
}

main(write, verify)
