// The format safetensors: eight bytes that say how long the header is, the
// header in JSON (each tensor's dtype, shape and place), then the numbers.

const HEADER = 100_000_000; // bytes at most, as the format says

// What dtypes there are, the bytes of a number, and how those that a weight can
// have become float32.
const DTYPES = {
  F64: [8, (buffer) => Float32Array.from(new Float64Array(buffer))],
  F32: [4, (buffer) => new Float32Array(buffer)],
  F16: [2, (buffer) => widened(buffer, halfToSingle)],
  BF16: [2, (buffer) => widened(buffer, (bits) => bits << 16)],
  ...{ I64: [8], U64: [8], I32: [4], U32: [4], I16: [2], U16: [2] },
  ...{ I8: [1], U8: [1], BOOL: [1], F8_E4M3: [1], F8_E5M2: [1] },
};

// buffer: a whole file, an ArrayBuffer, or what has its byteLength and slice():
// a file on the disk, of which a slice is read when it is asked for.
// Returns { metadata, tensors }. metadata: texts by their names. tensors, by
// name: { shape, dtype, bytes, values }. bytes: a copy of its own; values()
// copies one tensor's numbers, a Float32Array, so that a large file is read
// piece by piece.
// Throws a RangeError that says in what it is no such file; values() does where
// a weight cannot have that dtype.
export function readSafetensors(buffer) {
  const start = 8;
  if (buffer.byteLength < start) refuse("it is too short");
  const length = Number(new DataView(buffer.slice(0, start)).getBigUint64(0, true));
  if (length > Math.min(HEADER, buffer.byteLength - start)) {
    refuse("it is truncated or in another format");
  }
  const header = parsed(buffer.slice(start, start + length));
  const { __metadata__, ...entries } = header;
  const metadata = __metadata__ ?? {};
  if (!isTable(metadata) || Object.values(metadata).some((v) => !isText(v))) {
    refuse("its metadata is not a table of texts");
  }
  const data = start + length; // where it begins
  checkPlaces(entries, buffer.byteLength - data);
  const tensors = Object.entries(entries).map(([name, entry]) => {
    const { dtype, shape } = entry;
    const [from, to] = entry.data_offsets;
    const numbers = () => buffer.slice(data + from, data + to);
    const values = () => {
      const read = DTYPES[dtype][1];
      if (!read)
        throw new RangeError(`${name} has dtype ${dtype}: no kind of weights`);
      return read(numbers());
    };
    const tensor = {
      ...{ shape, dtype, values },
      get bytes() {
        return new Uint8Array(numbers());
      },
    };
    return [name, tensor];
  });
  return { metadata, tensors: Object.fromEntries(tensors) };
}

function parsed(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let header;
  try {
    header = JSON.parse(decoder.decode(bytes));
  } catch {
    refuse("its header is not JSON");
  }
  if (!isTable(header)) refuse("its header is not a JSON object");
  return header;
}

// Each tensor has as many bytes as its shape needs, they follow each other, and
// the last ends with the file.
function checkPlaces(entries, size) {
  const places = Object.entries(entries).map(([name, entry]) => {
    const { dtype, shape, data_offsets: offsets } = isTable(entry) ? entry : {};
    if (!isText(dtype) || !Object.hasOwn(DTYPES, dtype)) {
      refuse(`${name} has no dtype that we know`);
    }
    if (!areCounts(shape)) refuse(`${name} has no valid shape`);
    if (!areCounts(offsets) || offsets.length !== 2) {
      refuse(`${name} has no valid data_offsets`);
    }
    const bytes = shape.reduce((a, b) => a * b, DTYPES[dtype][0]);
    if (offsets[1] - offsets[0] !== bytes) {
      refuse(`${name} has a shape that its bytes do not fit`);
    }
    return { name, offsets };
  });
  places.sort(({ offsets: a }, { offsets: b }) => a[0] - b[0] || a[1] - b[1]);
  let end = 0;
  for (const { name, offsets } of places) {
    if (offsets[0] !== end) refuse(`${name} does not follow the one before it`);
    end = offsets[1];
  }
  if (end !== size) refuse(`it has ${size} bytes of numbers, not ${end}`);
}

// metadata: texts by their names. tensors, by name: { shape, values }, of
// float32 numbers.
// Returns the file's bytes.
export function writeSafetensors(metadata, tensors) {
  const header = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const data_offsets = [end, (end += values.byteLength)];
    header[name] = { dtype: "F32", shape, data_offsets };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = 8 * Math.ceil(text.length / 8); // so that the numbers are
  const bytes = new Uint8Array(8 + length + end).fill(32, 8); // aligned
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  const numbers = new Float32Array(bytes.buffer, 8 + length);
  let i = 0;
  for (const { values } of Object.values(tensors)) {
    numbers.set(values, i);
    i += values.length;
  }
  return bytes;
}

// 16 bits each -> float32, by the bits that it has there.
function widened(buffer, bitsOf) {
  const bits = Uint32Array.from(new Uint16Array(buffer), bitsOf);
  return new Float32Array(bits.buffer);
}

const single = new Float32Array(1);
const bitsOfSingle = new Uint32Array(single.buffer);

// The bits of float16: a sign, 5 of the exponent, 10 of the fraction.
function halfToSingle(half) {
  const sign = (half & 0x8000) << 16;
  const size = half & 0x7fff;
  if (size >= 0x7c00) return sign | 0x7f800000 | (size << 13); // infinite, NaN
  if (size >= 0x400) return sign | ((size << 13) + (112 << 23));
  single[0] = size * 2 ** -24; // below the smallest exponent
  return sign | bitsOfSingle[0];
}

function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value) {
  return typeof value === "string";
}

// Whole numbers, none below 0, each small enough to be exact.
function areCounts(values) {
  const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
  return Array.isArray(values) && values.every(isCount);
}

function refuse(why) {
  throw new RangeError(`this is not a valid safetensors file: ${why}`);
}
