// jose, as an identity provider signs with it and a service verifies with it: the gate says what it says.

import assert from 'node:assert/strict'

import { Checks, load, seen, unseen, world } from './checks.mjs'

const { createLocalJWKSet, importPKCS8, jwtVerify, SignJWT, UnsecuredJWT } = load('jose')

const ISSUE = `${world.gates['jira-tokens']}/rest/api/3/issue/PROJ-1`
const ISSUER = 'https://idp.example.com'
const AUDIENCE = 'scopegate'
const { published, private: keys, stranger } = world.issuer
const set = createLocalJWKSet(published)

const checks = new Checks('jose')

const now = () => Math.floor(Date.now() / 1000)

function claims(changes = {}) {
  const said = { iss: ISSUER, aud: AUDIENCE, iat: now(), exp: now() + 300, azp: 'portal', sub: 'dana', ...changes }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

async function signed(alg, said, header = {}, pem = keys[alg]) {
  const key = await importPKCS8(pem, alg)
  return new SignJWT(said).setProtectedHeader({ alg, kid: alg.toLowerCase(), ...header }).sign(key)
}

/** What jose says of it, by the published set. */
async function library(token) {
  const asked = { issuer: ISSUER, audience: AUDIENCE, requiredClaims: ['exp'], algorithms: Object.keys(keys) }
  try {
    await jwtVerify(token, set, asked)
    return true
  } catch {
    return false
  }
}

const ask = (token) => fetch(ISSUE, { headers: { authorization: `Bearer ${token}` } })

async function refused(token, reason = 'unidentified') {
  const answer = await unseen(() => ask(token))
  assert.deepEqual([answer.status, answer.headers.get('x-scopegate-reason')], [401, reason])
}

for (const alg of Object.keys(keys)) {
  await checks.check(`a token that it signs by ${alg} passes, and the product sees the gate's own credential`, async () => {
    const before = (await seen()).length
    for (const header of [{}, { typ: 'JWT' }, { typ: 'at+jwt' }]) {
      const token = await signed(alg, claims(), header)
      assert.deepEqual([await library(token), (await ask(token)).status], [true, 200])
    }
    const shown = (await seen()).slice(before).map((each) => each.headers.authorization)
    assert.deepEqual(shown, Array(3).fill('Bearer real-portal'))
  })
}

await checks.check('what it does not take the gate does not take', async () => {
  for (const changes of [
    { aud: 'another' },
    { aud: undefined },
    { exp: now() - 60 },
    { exp: undefined },
    { nbf: now() + 300 },
  ]) {
    const token = await signed('ES256', claims(changes))
    assert.equal(await library(token), false, JSON.stringify(changes))
    await refused(token)
  }
  for (const token of [
    await signed('ES256', claims(), {}, stranger),
    await signed('RS256', claims(), { kid: 'ps256' }),
    new UnsecuredJWT(claims()).encode(),
    `${(await signed('ES256', claims())).slice(0, -4)}AAAA`,
  ]) {
    assert.equal(await library(token), false)
    await refused(token)
  }
  // What it understands, and the gate does not look into.
  await refused(await signed('ES256', claims(), { crit: ['b64'], b64: true }))
})

await checks.check('who is behind it, and for which app, is judged as the policy has it', async () => {
  const token = await signed('ES256', claims({ sub: 'lee' }))
  assert.equal(await library(token), true)
  const answer = await unseen(() => ask(token))
  assert.equal(answer.headers.get('x-scopegate-reason'), 'user_not_allowed')
  await refused(await signed('ES256', claims({ azp: 'another' })), 'unknown_app')
})

checks.end()
