// Node before version 22.15 has no zstd: a compiled-to-JavaScript one stands in under Node's own names.
const zlib = require('zlib')
const { package: load } = require('./records')

module.exports = new Promise(resolve => {
  if (zlib.zstdCompressSync) return resolve(zlib)
  load('zstd-codec').ZstdCodec.run(zstd => {
    const simple = new zstd.Simple()
    zlib.zstdCompressSync = bytes => Buffer.from(simple.compress(bytes, 3))
    // Told no size in the frame, the simple decoder gives up: the streaming one does not.
    const streaming = new zstd.Streaming()
    zlib.zstdDecompressSync = bytes => Buffer.from(streaming.decompress(bytes))
    resolve(zlib)
  })
})
