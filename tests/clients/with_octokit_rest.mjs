// @octokit/rest, as an app uses it, against the gate.

import assert from 'node:assert/strict'

import { asked, away, Checks, givenBack, load, revoked, seen, unseen, world } from './checks.mjs'

const { Octokit } = await import(load.resolve('@octokit/rest'))

const NEVER = world.never
const ACCEPTED = 'x-accepted-github-permissions'
// What it would write on standard error: the refusals that are asked for here.
const log = { debug() {}, info() {}, warn() {}, error() {} }
const client = (auth, gate = world.gates.github) => new Octokit({ auth, baseUrl: `${gate}/api/v3`, log })
const builder = client(world.keys.builder)
const triage = client(world.keys.triage)
const reader = client(world.keys.reader)

const checks = new Checks('@octokit/rest')

/** The call ends in the SDK's own error with this status; the error. The vendor's host sees nothing. */
const refused = (status, call) => unseen(() => told(status, call))

async function told(status, call) {
  let answer
  try {
    answer = await call()
  } catch (error) {
    assert.equal(error.name, 'HttpError', error.stack)
    assert.equal(error.status, status, error.message)
    const { scopegate, message } = error.response.data
    return { ...scopegate, message, text: error.message, permissions: error.response.headers[ACCEPTED] }
  }
  assert.fail(`it passed, with ${JSON.stringify(answer.data)}`)
}

const at = (repo, more = {}) => ({ owner: 'acme', repo, ...more })
const repository = (client, repo) => client.rest.repos.get(at(repo))
const create = (client, repo, title) => client.rest.issues.create(at(repo, { title }))
const comment = (client, repo, body) => client.rest.issues.createComment(at(repo, { issue_number: 1, body }))
const write = (client, path, text) => {
  const content = Buffer.from(text).toString('base64')
  return client.rest.repos.createOrUpdateFileContents(at('website', { path, message: 'written', content }))
}

await checks.check('at start-up the user, the organisation and a repository are told', async () => {
  assert.equal((await builder.rest.users.getAuthenticated()).data.login, 'builder[bot]')
  assert.equal((await builder.rest.orgs.get({ org: 'acme' })).data.name, 'Acme')
  assert.equal((await repository(builder, 'website')).data.full_name, 'acme/website')
})

await checks.check("lists are read to the last page, though `Link` names the vendor's host", async () => {
  const before = (await seen()).length
  const repositories = await builder.paginate(builder.rest.repos.listForOrg, { org: 'acme' })
  assert.deepEqual(
    repositories.map((each) => each.name),
    ['website', 'docs', 'vault', 'shop', 'tools', 'infra', 'archive'],
  )
  const issues = await builder.paginate(builder.rest.issues.listForRepo, at('website', { state: 'all' }))
  assert.deepEqual(issues.map((issue) => issue.number), [1, 2, 3, 4, 5, 6, 7])
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(6).fill('1.1 scopegate'))
})

await checks.check('a link that an answer gives is called as it stands, and goes through the gate', async () => {
  const before = (await seen()).length
  const { data } = await builder.rest.issues.get(at('website', { issue_number: 1 }))
  await builder.request(`POST ${data.comments_url}`, { body: 'an hour' })
  assert.equal((await builder.request(`GET ${data.url}`)).data.comments, 1)
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(3).fill('1.1 scopegate'))
})

await checks.check('writes: an issue is made and closed, a file is made and read', async () => {
  const { data } = await create(builder, 'website', 'made by octokit')
  const closed = await builder.rest.issues.update(at('website', { issue_number: data.number, state: 'closed' }))
  assert.equal(closed.data.state, 'closed')
  await write(builder, 'a.txt', 'words')
  const file = await builder.rest.repos.getContent(at('website', { path: 'a.txt' }))
  assert.equal(Buffer.from(file.data.content, 'base64').toString(), 'words')
})

await checks.check('a file in a folder is written by its URL; by an escaped slash it is a 400', async () => {
  const content = Buffer.from('words').toString('base64')
  await builder.request('PUT /repos/acme/website/contents/docs/a.txt', { message: 'written', content })
  const file = await builder.request('GET /repos/acme/website/contents/docs/a.txt')
  assert.equal(file.data.path, 'docs/a.txt')
  assert.equal((await refused(400, () => write(builder, 'docs/b.txt', NEVER))).reason, 'bad_request')
})

await checks.check('a release gets an asset by `upload_url`, through the gate', async () => {
  const before = (await seen()).length
  const { data: release } = await builder.rest.repos.createRelease(at('website', { tag_name: 'v1' }))
  const asset = { name: 'a.log', label: '', data: 'a log', headers: { 'content-type': 'text/plain' } }
  const { data } = await builder.request(`POST ${release.upload_url}`, asset)
  assert.deepEqual([data.name, data.size], ['a.log', 5])
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(2).fill('1.1 scopegate'))
})

await checks.check('a repository is forked and handed on within the organisation', async () => {
  const forked = await builder.rest.repos.createFork(at('website', { organization: 'acme', name: 'forked' }))
  assert.equal(forked.data.full_name, 'acme/forked')
  assert.equal((await builder.rest.repos.transfer(at('website', { new_owner: 'acme' }))).status, 202)
})

await checks.check('a limited app reads and writes in its repository', async () => {
  assert.equal((await triage.rest.issues.get(at('website', { issue_number: 2 }))).data.number, 2)
  await comment(triage, 'website', 'seen')
})

await checks.check('a write that is refused for want of a permission is a 403 that names it', async () => {
  const issue = await refused(403, () => create(reader, 'website', NEVER))
  assert.equal(issue.message, 'Resource not accessible by integration')
  assert.deepEqual([issue.reason, issue.permissions], ['missing_scope', 'issues=write'])
  assert.match(issue.text, /Needed: issues=write\..*Ask: it-platform@example\.com\./)
  assert.equal((await refused(403, () => write(reader, 'b.txt', NEVER))).permissions, 'contents=write')
})

await checks.check('a repository that is not granted, and one that was taken away, is not found', async () => {
  const not = await refused(404, () => repository(triage, 'shop'))
  assert.deepEqual([not.message, not.reason, not.permissions], ['Not Found', 'container_not_granted', undefined])
  assert.equal((await refused(404, () => repository(triage, 'vault'))).reason, 'container_revoked')
  assert.equal((await refused(404, () => create(triage, 'docs', NEVER))).reason, 'container_not_granted')
})

await checks.check('a repository is neither forked into nor handed to another owner', async () => {
  const fork = () => builder.rest.repos.createFork(at('website', { organization: 'elsewhere', name: NEVER }))
  assert.equal((await refused(401, fork)).reason, 'unknown_tenant')
  const transfer = () => builder.rest.repos.transfer(at('website', { new_owner: 'elsewhere', new_name: NEVER }))
  assert.equal((await refused(401, transfer)).reason, 'unknown_tenant')
})

await checks.check('a permission that is revoked while the script runs is missing at the next call', async () => {
  await comment(builder, 'website', 'before')
  await revoked('SEC-1142', async () => {
    const error = await refused(403, () => comment(builder, 'website', NEVER))
    assert.deepEqual([error.reason, error.permissions], ['scope_revoked', 'issues=write'])
    await refused(403, () => create(builder, 'docs', NEVER))
    assert.equal((await builder.rest.issues.get(at('website', { issue_number: 1 }))).data.number, 1)
    await comment(triage, 'website', 'another app goes on')
  })
  await givenBack(() => comment(builder, 'website', 'after'))
})

await checks.check('a permission that is revoked in one repository while the script runs hides it', async () => {
  await comment(triage, 'website', 'before')
  await revoked('SEC-1143', async () => {
    assert.equal((await refused(404, () => comment(triage, 'website', NEVER))).reason, 'container_revoked')
    assert.equal((await triage.rest.issues.get(at('website', { issue_number: 1 }))).data.number, 1)
    await comment(builder, 'website', 'another app goes on')
  })
  await givenBack(() => comment(triage, 'website', 'after'))
})

await checks.check('a path that is no operation, and a strange key, are told as GitHub tells them', async () => {
  const labels = () => builder.rest.issues.listLabelsForRepo(at('website'))
  assert.equal((await refused(404, labels)).reason, 'unknown_operation')
  const stranger = await refused(401, () => client('sg_of-nobody').rest.users.getAuthenticated())
  assert.deepEqual([stranger.message, stranger.reason], ['Bad credentials', 'unknown_app'])
})

await checks.check('while the product is away a call is a 502, once, and the same client goes on', async () => {
  const error = await away(() => asked(1, () => told(502, () => repository(builder, 'website'))))
  assert.equal(error.reason, 'upstream_unreachable')
  assert.equal((await repository(builder, 'website')).data.name, 'website')
})

await checks.check('a gate that has no policy yet is asked once, and is no authentication error', async () => {
  const early = client(world.keys.builder, world.unready)
  const call = () => refused(503, () => repository(early, 'website'))
  assert.equal((await asked(1, call, world.unready_health)).reason, 'no_policy')
})

checks.end()
