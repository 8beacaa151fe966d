// TypeScript's compiler, kept warm: its own declarations are parsed once, then each program costs only itself.
// Frames on stdin and stdout are described in __init__.py.  Arguments: the tsc command, then its options.
"use strict";
const fs = require("fs");
const path = require("path");
const [tsc, ...flags] = process.argv.slice(2);
const ts = require(path.join(path.dirname(fs.realpathSync(tsc)), "../lib/typescript.js"));

const NAME = "test.ts";
const { options } = ts.parseCommandLine([...flags, NAME]);
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
const libraries = new Map();

function compile(text) {
  const outputs = [];
  host.getSourceFile = (name, how, ...more) => {
    if (name === NAME) return ts.createSourceFile(name, text, how);
    if (!libraries.has(name)) libraries.set(name, read(name, how, ...more));
    return libraries.get(name);
  };
  host.readFile = (name) => (name === NAME ? text : ts.sys.readFile(name));
  host.fileExists = (name) => name === NAME || ts.sys.fileExists(name);
  host.writeFile = (name, data) => outputs.push([path.basename(name), Buffer.from(data)]);
  const program = ts.createProgram([NAME], options, host);
  const found = diagnostics(program);
  const { emitSkipped, diagnostics: emitted } = program.emit(program.getSourceFile(NAME)); // without a file it checks the libraries
  const all = ts.sortAndDeduplicateDiagnostics([...found, ...emitted]);
  const status = all.length === 0 ? 0 : emitSkipped ? 1 : 2; // ExitStatus of tsc
  return { status, message: Buffer.from(ts.formatDiagnostics(all, host)), outputs };
}

// As tsc collects them, except that the libraries are looked through only where the program adds to what
// they declare: nothing else that it says can make an error in them.
function diagnostics(program) {
  const file = program.getSourceFile(NAME);
  const checker = program.getTypeChecker();
  const elsewhere = (symbol) =>
    (checker.getMergedSymbol(symbol).declarations || []).some((one) => one.getSourceFile() !== file);
  const adds = /\b(global|module|namespace)\b/.test(file.text) || [...(file.locals || new Map()).values()].some(elsewhere);
  return adds ? ts.getPreEmitDiagnostics(program) : ts.getPreEmitDiagnostics(program, file);
}

function exactly(length) {
  const data = Buffer.alloc(length);
  for (let have = 0; have < length; ) {
    const got = fs.readSync(0, data, have, length - have, null);
    if (got === 0) process.exit(0);
    have += got;
  }
  return data;
}

function number(value) {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value);
  return data;
}

function send(parts) {
  const data = Buffer.concat(parts);
  for (let sent = 0; sent < data.length; ) sent += fs.writeSync(1, data, sent);
}

for (;;) {
  const text = exactly(exactly(4).readUInt32BE()).toString();
  const before = process.cpuUsage();
  const { status, message, outputs } = compile(text);
  const { user, system } = process.cpuUsage(before);
  const parts = [number(status), number(user + system), number(message.length), message, number(outputs.length)];
  for (const [name, data] of outputs)
    parts.push(number(Buffer.byteLength(name)), Buffer.from(name), number(data.length), data);
  send(parts);
}
