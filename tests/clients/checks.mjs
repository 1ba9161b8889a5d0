// What a script in JavaScript uses: one line a check, the gate's metrics, and an administrator's edit of a policy file.

import assert from 'node:assert/strict'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

// For a reload, which takes milliseconds.
const DEADLINE_MS = 15_000
const LOOK_MS = 10
// A script may put its own `fetch` in the place of this one.
const ask = globalThis.fetch

export const world = JSON.parse(process.env.SCOPEGATE_WORLD)

/** A package from where the run installed it, which is not where this file lies. */
export const load = createRequire(join(world.built, 'npm', 'package.json'))

export class Checks {
  #sdk
  #failed = 0

  constructor(sdk) {
    this.#sdk = sdk
  }

  /** One fact. Whatever is thrown inside is its failure, and the next is checked all the same. */
  async check(fact, body) {
    try {
      await body()
      console.log(`ok      ${this.#sdk}: ${fact}`)
    } catch (error) {
      this.#failed += 1
      console.log(`FAILED  ${this.#sdk}: ${fact}`)
      // Some SDKs throw what is no error.
      console.error(`${fact}\n${error.stack ?? JSON.stringify(error)}\n`)
    }
  }

  end() {
    console.log('done')
    process.exitCode = this.#failed ? 1 : 0
  }
}

/** Every request that the vendor's host saw. */
export const seen = async () => JSON.parse(await text(`${world.vendor}/requests`))

/** The vendor's host sees nothing of what happens inside. */
export async function unseen(body) {
  const before = (await seen()).length
  const result = await body()
  const more = (await seen()).slice(before).map((each) => `${each.method} ${each.target}`)
  assert.deepEqual(more, [], "the vendor's host saw this")
  return result
}

/** The vendor's host is not there. */
export async function away(body) {
  await text(`${world.vendor}/stop`, 'POST')
  try {
    return await body()
  } finally {
    await text(`${world.vendor}/start`, 'POST')
  }
}

/** The gate gets exactly so many requests inside: the SDK tries again no more often than this. */
export async function asked(times, body, health = world.health) {
  const before = await requests(health)
  const result = await body()
  // A request is counted when its answer has been written, which the SDK may see a moment before.
  await until(`the gate counts ${times} requests`, async () => (await requests(health)) - before >= times)
  assert.equal((await requests(health)) - before, times, 'requests that the gate got')
  return result
}

/**
 * An administrator takes the `#` away before the revocation with this reason, and puts it back at the end.
 *
 * Inside, the gate has it in force: its metrics no longer name the digest of the policy before.
 */
export async function revoked(reason, body) {
  const before = readFileSync(world.policy, 'utf8')
  const edited = before.replace(new RegExp(`^( *)#(.*reason: ${reason}\\}.*)$`, 'm'), '$1$2')
  assert.notEqual(edited, before, `no revocation with ${reason}`)
  const old = await digests()
  write(edited)
  await until('the edit is in force', async () => (await digests()).every((digest) => !old.includes(digest)))
  try {
    return await body()
  } finally {
    write(before)
    await until('the edit is taken back', async () => String(await digests()) === String(old))
  }
}

/** What gives waits until the folder has settled: `call` until it is not refused. */
export async function givenBack(call) {
  const deadline = Date.now() + DEADLINE_MS
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
    await pause(LOOK_MS)
  }
}

/** The error of this kind that a call ends with. */
export async function thrown(kind, call) {
  let answer
  try {
    answer = await call()
  } catch (error) {
    assert.ok(error instanceof kind, `no ${kind.name}, but ${error.stack}`)
    return error
  }
  assert.fail(`no ${kind.name}, but ${JSON.stringify(answer)}`)
}

/** Whole and at once, as an editor does it: written beside the folder and renamed over. */
function write(policy) {
  const written = join(dirname(world.policy), '..', 'written')
  writeFileSync(written, policy)
  renameSync(written, world.policy)
}

/** Of the policy in force; for a moment, of two. */
async function digests() {
  const found = (await text(`${world.health}/metrics`)).matchAll(/^scopegate_snapshot_info\{digest="(\w+)"\} 1$/gm)
  const shown = [...found].map((line) => line[1])
  assert.ok(shown.length, 'no digest of the policy in force')
  return shown
}

async function requests(health) {
  const counts = (await text(`${health}/metrics`)).matchAll(/^scopegate_requests_total\{[^}]*\} (\S+)$/gm)
  return [...counts].reduce((sum, count) => sum + Number(count[1]), 0)
}

async function text(url, method = 'GET') {
  const answer = await ask(url, { method, signal: AbortSignal.timeout(DEADLINE_MS) })
  assert.ok(answer.ok, `${method} ${url}: ${answer.status}`)
  return answer.text()
}

async function until(what, done) {
  const deadline = Date.now() + DEADLINE_MS
  while (!(await done())) {
    assert.ok(Date.now() < deadline, `waited ${DEADLINE_MS} ms until ${what}`)
    await pause(LOOK_MS)
  }
}
