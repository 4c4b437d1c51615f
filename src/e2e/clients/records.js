// The records of records.py, and the frame of every JavaScript client; records.py says what they are.
const path = require('path')

// Packages lie in the cache, not beside this file.
exports.package = name => require(path.join(process.env.FLOE_E2E_NPM, 'node_modules', name))

exports.writerAndCodec = topic => topic.split('-').slice(-2)

const record = exports.record = (writer, i, n, t0) => {
  if (writer === 'kcat') {
    return { key: Buffer.from(`key-${i}`), value: Buffer.from(`value ${i}`), headers: [['trace', Buffer.from('e2e')]], timestamp: null }
  }
  const key = i % 5 === 0 ? null : i % 5 === 1 ? Buffer.alloc(0) : Buffer.from(`key-${i}`)
  const size = i === n - 1 ? 1040000 : i % 7 === 0 && i % 5 !== 0 ? -1 : i % 7 < 2 ? 0 : 10 + (i * 37) % 900
  const value = size < 0 ? null : Buffer.alloc(size)
  let x = (i * 104729 + 1) >>> 0
  for (let j = 0; j < size; j++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    value[j] = 32 + (x >>> 26)
  }
  const headers = [['trace', Buffer.from(String(i))], ['empty', Buffer.alloc(0)]].slice(0, i % 3)
  return { key, value, headers, timestamp: t0 + i * 1000 }
}

const same = (a, b) => (a === null || b === null ? a === b : Buffer.compare(a, b) === 0)

// `have`: offset, timestamp (numbers), key, value, headers ([name, value]).
exports.check = (topic, i, n, t0, have) => {
  const want = record(exports.writerAndCodec(topic)[0], i, n, t0)
  const headers = have.headers.length === want.headers.length &&
    want.headers.every(([name, value], at) => have.headers[at][0] === name && same(have.headers[at][1], value))
  if (have.offset !== i || (want.timestamp !== null && have.timestamp !== want.timestamp) || !same(have.key, want.key) ||
      !same(have.value, want.value) || !headers) {
    throw new Error(`record ${i} differs: offset ${have.offset}, timestamp ${have.timestamp}, key ${have.key}, headers ${have.headers}`)
  }
}

// A timestamp to look for and the offset that has it; nothing for topics whose timestamps the writer chose.
exports.times = (topic, n, t0) =>
  exports.writerAndCodec(topic)[0] === 'kcat' ? [] : [[t0 + Math.floor(n / 3) * 1000, Math.floor(n / 3)]]

// Reads with fetch(first) => [{offset, ...}] from `first` to the end; whole batches come, also from before the offset.
exports.read = async (topic, first, n, t0, fetch) => {
  let next = first
  const limit = Date.now() + 60000
  while (next < n) {
    if (Date.now() > limit) throw new Error(`from ${first}: only up to ${next} within a minute`)
    for (const have of await fetch(next)) {
      if (have.offset < next) continue
      exports.check(topic, next, n, t0, have)
      next++
    }
  }
}

// Runs write(topic, codec, n, t0) or verify(topic, n, t0) for each topic; tells every failure at the end.
exports.main = async (write, verify) => {
  const [command, n, t0, ...topics] = process.argv.slice(3)
  const failures = []
  for (const topic of topics) {
    try {
      if (command === 'write') await write(topic, exports.writerAndCodec(topic)[1], Number(n), Number(t0))
      else await verify(topic, Number(n), Number(t0))
    } catch (error) {
      console.error(error)
      failures.push(`FAILED ${topic}: ${error.message}`)
      if (failures.length === 3) break
    }
  }
  failures.forEach(failure => console.error(failure))
  process.exit(failures.length ? 1 : 0)
}
