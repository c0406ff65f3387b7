#!/usr/bin/env node
// A sample: keys, state and signatures of an IC card, through inkand.
//
//   sample.js keys
//   sample.js watch [COUNT]
//   sample.js sign SLOT FILE       writes FILE.sig
//
// In an Electron app this belongs to the main process. A PIN never comes here:
// inkan-prompt asks for it and gives it to inkand.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'

const socket = process.env.INKAN_SOCKET || '/run/inkan/inkan.sock'
const pinSocket = process.env.INKAN_PIN_SOCKET || join(dirname(socket), 'pin.sock')
const promptProgram = process.env.INKAN_PROMPT || '/usr/libexec/inkan/inkan-prompt'
const language = (process.env.LANG || '').startsWith('ja') ? 'ja' : 'en'
const apiLevel = 1 // the lowest that this program works with

// The .proto files of the repository are all that is needed.
const proto = process.env.INKAN_PROTO || fileURLToPath(new URL('../../../proto', import.meta.url))
const { inkan } = grpc.loadPackageDefinition(loader.loadSync(
  ['inkan/v1/status.proto', 'inkan/v1/signing.proto'],
  { includeDirs: [proto, join(proto, 'third_party')], longs: String, enums: String, defaults: true }
))

// Leaves when others than root or we could have made the socket. (inkand's own
// user counts, too: give its uid in INKAN_UID where inkand does not run as root.)
function checkSocket () {
  const folder = statSync(dirname(realpathSync(socket)))
  const trusted = [0, process.getuid(), Number(process.env.INKAN_UID || 0)]
  // Our own group may write to what is ours: with umask 002 it is private.
  const ours = folder.uid === process.getuid() && folder.gid === process.getgid()
  if (!trusted.includes(folder.uid) || folder.mode & (ours ? 0o002 : 0o022)) {
    throw new Error(`${socket}: others could have put this socket here`)
  }
}

const options = { 'grpc.enable_retries': 0, 'grpc.service_config_disable_resolution': 1 }
const service = (name) => new inkan.v1[name](`unix:${resolve(socket)}`, grpc.credentials.createInsecure(), options)

// What each call says: the language of errors, and who asks for the PIN.
function metadata (agent) {
  const m = new grpc.Metadata()
  m.set('accept-language', language)
  if (agent) m.set('inkan-agent', agent)
  return m
}

// One call as a promise.
function call (client, method, request, { agent, seconds = 10 } = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata(agent), { deadline: Date.now() + seconds * 1000 },
      (error, answer) => error ? reject(error) : resolve(answer))
  })
}

async function listKeys (signing) {
  const keys = []
  let token = ''
  do {
    const page = await call(signing, 'ListKeys', { pageToken: token })
    keys.push(...page.keys)
    token = page.nextPageToken
  } while (token)
  return keys
}

async function keys (status, signing) {
  for (const key of await listKeys(signing)) {
    console.log(key.slot, key.type, key.certificate?.company)
  }
}

// Shows each state. A program shows that inkand is away when this ends with
// UNAVAILABLE, waits a moment and calls it again.
function watch (status, signing, count) {
  return new Promise((resolve, reject) => {
    let seen = 0
    const stream = status.WatchStatus({}, metadata())
    stream.on('data', (update) => {
      const cards = (update.status.cards || []).map((c) => `${c.company} ${c.state}`)
      console.log(update.sequence, cards.join(', ') || 'no card')
      if (count && ++seen >= Number(count)) stream.cancel()
    })
    stream.on('end', resolve)
    stream.on('error', (error) => error.code === grpc.status.CANCELLED ? resolve() : reject(error))
  })
}

// Runs work with the id of an inkan-prompt that asks at this terminal. A program
// of a desktop needs none: it names no agent, and the prompt of the person's
// session is asked.
async function withPrompt (work) {
  const child = spawn(promptProgram, ['--socket', resolve(pinSocket), '--ready-fd', '3', '--life-fd', '4', '--lang', language],
    { env: {}, stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'] })
  const ended = new Promise((resolve) => { child.on('exit', resolve); child.on('error', resolve) })
  const [ready, life] = [child.stdio[3], child.stdio[4]]
  try {
    const agent = await new Promise((resolve, reject) => {
      createInterface(ready).on('line', resolve)
      ended.then(() => reject(new Error('inkan-prompt did not start')))
    })
    return await work(agent)
  } finally {
    life.destroy() // it ends when nobody needs it any more
    await ended
  }
}

async function sign (status, signing, slot, path) {
  const key = (await listKeys(signing)).find((k) => k.slot === slot)
  if (!key) throw new Error(`no key in slot ${slot}`)
  const algorithm = key.algorithms.find((a) => a.endsWith('SHA256'))
  const digest = createHash('sha256').update(readFileSync(path)).digest() // the document stays here
  const request = { keyId: key.id, algorithm, digest, documentName: basename(path) }
  // No deadline shorter than a person needs, and never a second call by itself:
  // a wrong PIN has spent a try.
  const answer = await withPrompt((agent) => call(signing, 'Sign', request, { agent, seconds: 180 }))
  writeFileSync(`${path}.sig`, answer.signature)
  console.log(`${path}.sig, ${algorithm}, record ${answer.record}`)
}

const commands = { keys, watch, sign }
const [name, ...rest] = process.argv.slice(2)
if (!commands[name]) {
  console.error('sample.js keys | watch [COUNT] | sign SLOT FILE')
  process.exit(2)
}
const [status, signing] = [service('StatusService'), service('SigningService')]
try {
  checkSocket()
  const version = await call(status, 'GetVersion', {})
  if (version.apiLevel < apiLevel) throw new Error(`inkand ${version.version} is too old for this program`)
  await commands[name](status, signing, ...rest)
} catch (error) {
  // error.details: "INK-1001 ..." in the person's language; for inkand's own
  // errors the metadata grpc-status-details-bin has reason and next step.
  console.error(error.details ? `${grpc.status[error.code]}: ${error.details}` : error.message)
  process.exitCode = 1
} finally {
  status.close()
  signing.close()
}
