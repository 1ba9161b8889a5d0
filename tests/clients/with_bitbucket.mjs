// The npm package `bitbucket`, as an app uses it, against the gate.

import assert from 'node:assert/strict'

import { asked, away, Checks, givenBack, load, revoked, seen, unseen, world } from './checks.mjs'

const { Bitbucket } = load('bitbucket')
// What it sends by multipart when it is given one: it looks at the name of the class.
const FormData = load('form-data')

const NEVER = world.never
const HEAD = '0123456789abcdef0123456789abcdef01234567'
const client = (auth, gate = world.gates.bitbucket) => new Bitbucket({ baseUrl: `${gate}/2.0`, auth, notice: false })
const builder = client({ token: world.keys.builder })
const reader = client({ token: world.keys.reader })
// An API token, shown as Basic.
const porter = client({ username: 'porter@example.com', password: world.keys.porter })

const checks = new Checks('bitbucket')

/** The call ends in the SDK's own error with this status; what was answered. The vendor's host sees nothing. */
const refused = (status, call) => unseen(() => told(status, call))

async function told(status, call) {
  const error = await unsuccessful(call)
  assert.equal(error.status, status, JSON.stringify(error.error))
  return error.error
}

/** The error of the SDK's own that a call ends with. */
async function unsuccessful(call) {
  let answer
  try {
    answer = await call()
  } catch (error) {
    assert.equal(error.name, 'HTTPError', error.stack)
    return error
  }
  assert.fail(`it passed, with ${JSON.stringify(answer.data)}`)
}

const at = (repo_slug, more = {}) => ({ workspace: 'acme', repo_slug, ...more })
const repository = (client, slug) => client.repositories.get(at(slug))
const branch = (client, slug, name) => client.refs.createBranch(at(slug, { _body: { name, target: { hash: HEAD } } }))
const comment = (client, raw) =>
  client.pullrequests.createComment(at('website', { pull_request_id: 1, _body: { content: { raw } } }))

/** Every page of a list, as an app reads it. */
async function all(client, first) {
  const values = []
  for (let { data } = first; ; data = (await client.getNextPage(data)).data) {
    values.push(...data.values)
    if (!client.hasNextPage(data)) return values
  }
}

await checks.check('at start-up the user, the workspace and a repository are told', async () => {
  assert.equal((await builder.users.getAuthedUser({})).data.nickname, 'dana')
  assert.equal((await repository(builder, 'website')).data.name, 'website')
  assert.equal((await repository(porter, 'shop')).data.slug, 'shop')
  assert.equal((await builder.workspaces.getProjects({ workspace: 'acme' })).data.values[0].key, 'WEB')
})

await checks.check("lists are read to the last page, though `next` names the vendor's host", async () => {
  const before = (await seen()).length
  const repositories = await all(builder, await builder.repositories.list({ workspace: 'acme' }))
  assert.equal(repositories.length, 7)
  const pulls = await all(builder, await builder.pullrequests.list(at('website')))
  assert.deepEqual(pulls.map((pull) => pull.title), [1, 2, 3, 4].map((number) => `website change ${number}`))
  const branches = await all(builder, await builder.refs.listBranches(at('website')))
  assert.deepEqual(branches.map((branch) => branch.name), ['main', 'feature/one', 'feature/two', 'fix'])
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(7).fill('1.1 scopegate'))
})

await checks.check('writes: a branch, an issue, a pull request with a comment, approved and merged', async () => {
  await branch(builder, 'website', 'made')
  const issue = { title: 'a bug', kind: 'bug', content: { raw: 'words' } }
  assert.equal((await builder.issue_tracker.create(at('website', { _body: issue }))).data.state, 'new')
  const asked = { title: 'made by bitbucket', source: { branch: { name: 'made' } } }
  const { data: pull } = await builder.pullrequests.create(at('website', { _body: asked }))
  assert.equal((await comment(builder, 'an hour')).data.content.raw, 'an hour')
  const ids = at('website', { pull_request_id: pull.id })
  assert.equal((await builder.pullrequests.createApproval(ids)).data.approved, true)
  assert.equal((await builder.pullrequests.merge({ ...ids, _body: {} })).data.state, 'MERGED')
})

await checks.check("a pull request's diff, which is somewhere else, is read through the gate", async () => {
  const before = (await seen()).length
  const { data } = await builder.pullrequests.getDiff(at('website', { pull_request_id: 1 }))
  assert.equal(Buffer.from(data).toString(), 'diff --git a/a b/a\n')
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(2).fill('1.1 scopegate'))
})

await checks.check('a repository is made, changed, forked and deleted', async () => {
  const project = { key: 'WEB' }
  await builder.repositories.create(at('made-here', { _body: { scm: 'git', project } }))
  const { data } = await builder.repositories.update(at('made-here', { _body: { description: 'changed' } }))
  assert.equal(data.description, 'changed')
  const fork = { name: 'forked', workspace: { slug: 'acme' } }
  assert.equal((await builder.repositories.createFork(at('website', { _body: fork }))).data.full_name, 'acme/forked')
  await builder.repositories.delete(at('made-here'))
  const gone = await unsuccessful(() => repository(builder, 'made-here'))
  assert.deepEqual([gone.status, gone.error.error.message], [404, 'Repository made-here not found'])
})

/** A form with one file in it, whole, so that its length is known. */
function form(name, filename, content) {
  const form = new FormData()
  form.append(name, Buffer.from(content), { filename })
  return form
}

await checks.check('a file is uploaded and read through the gate, which fetches it from a listed host', async () => {
  await builder.downloads.create(at('website', { _body: form('files', 'a.log', 'a log') }))
  const { data } = await reader.downloads.get(at('website', { filename: 'a.log' }))
  assert.equal(Buffer.from(data).toString(), 'a log')
})

await checks.check('a file is committed by multipart and read as it was written', async () => {
  await builder.source.createFileCommit(at('website', { _body: form('docs/a.txt', 'a.txt', 'words') }))
  // Its template escapes the slashes of a path: that could be read in two ways.
  await builder.source.createFileCommit(at('website', { _body: form('b.txt', 'b.txt', 'more words') }))
  const { data } = await reader.source.read(at('website', { commit: 'main', path: 'b.txt' }))
  assert.equal(Buffer.from(data).toString(), 'more words')
  const escaped = await refused(400, () => reader.source.read(at('website', { commit: 'main', path: 'docs/a.txt' })))
  assert.equal(escaped.scopegate.reason, 'bad_request')
})

await checks.check('an API token that is limited to repositories reads and writes there', async () => {
  await branch(porter, 'website', 'by-porter')
  await comment(porter, 'seen')
  const shown = (await seen()).slice(-2).map((each) => each.headers.authorization.split(' ')[0])
  assert.deepEqual(shown, ['Basic', 'Basic'])
})

await checks.check('a write that is refused for want of a scope names what is required and granted', async () => {
  const { error, scopegate } = await refused(403, () => branch(reader, 'website', NEVER))
  assert.match(error.message, /^Your credentials lack one or more required privilege scopes\./)
  assert.deepEqual(error.detail, { required: ['repository:write'], granted: ['repository'] })
  assert.equal(scopegate.reason, 'missing_scope')
  const upload = await refused(403, () => reader.downloads.create(at('website', { _body: form('files', 'a', NEVER) })))
  assert.deepEqual(upload.error.detail.required, ['repository:write'])
})

await checks.check('a repository that is not granted, and one that was taken away, is not found', async () => {
  assert.equal((await refused(404, () => repository(porter, 'docs'))).scopegate.reason, 'container_not_granted')
  assert.equal((await refused(404, () => repository(porter, 'vault'))).scopegate.reason, 'container_revoked')
  const told = await refused(404, () => branch(porter, 'shop', NEVER))
  assert.equal(told.scopegate.reason, 'container_not_granted')
  assert.match(told.error.message, /Ask: it-platform@example\.com\./)
})

await checks.check('a fork into another workspace, and a pull request from one, is another tenant’s', async () => {
  const workspace = { slug: 'elsewhere' }
  const fork = () => builder.repositories.createFork(at('website', { _body: { name: NEVER, workspace } }))
  assert.equal((await refused(401, fork)).scopegate.reason, 'unknown_tenant')
  const source = { branch: { name: 'fix' }, repository: { full_name: 'elsewhere/website' } }
  const pull = () => builder.pullrequests.create(at('website', { _body: { title: NEVER, source } }))
  assert.equal((await refused(401, pull)).scopegate.reason, 'unknown_tenant')
})

const hook = () => {
  const body = { url: `https://evil.example/${NEVER}`, events: ['repo:push'], active: true }
  return builder.webhooks.create(at('website', { _body: body }))
}

await checks.check('webhooks are taken from it: it keeps the scope that the vendor asks, not the guard', async () => {
  await revoked('SEC-8', async () => {
    const { scopegate } = await refused(403, hook)
    assert.equal(scopegate.reason, 'scope_revoked')
    assert.ok(scopegate.needed.includes('gate:deliver'), scopegate.needed)
    assert.equal((await repository(builder, 'website')).data.slug, 'website')
  })
})

await checks.check('a scope that is revoked while the script runs is missing at the next call', async () => {
  const approve = () => builder.pullrequests.createApproval(at('website', { pull_request_id: 1 }))
  await approve()
  await revoked('SEC-1142', async () => {
    const { error, scopegate } = await refused(403, approve)
    assert.deepEqual([scopegate.reason, error.detail.required], ['scope_revoked', ['pullrequest:write']])
    assert.equal((await builder.pullrequests.get(at('website', { pull_request_id: 1 }))).data.id, 1)
    await comment(porter, 'another app goes on')
  })
  await givenBack(approve)
})

await checks.check('a scope that is revoked in one repository while the script runs is not found there', async () => {
  await branch(porter, 'website', 'before')
  await revoked('SEC-1143', async () => {
    const { scopegate } = await refused(404, () => branch(porter, 'website', NEVER))
    assert.equal(scopegate.reason, 'container_revoked')
    assert.equal((await repository(porter, 'website')).data.slug, 'website')
    await branch(builder, 'website', 'another app goes on')
  })
  await givenBack(() => branch(porter, 'website', 'after'))
})

await checks.check('a path that is no operation, and a strange key, are told as Bitbucket tells them', async () => {
  const unknown = () => builder.request('GET /repositories/acme/website/no-such')
  assert.equal((await refused(404, unknown)).scopegate.reason, 'unknown_operation')
  const stranger = client({ token: 'sg_of-nobody' })
  assert.equal((await refused(401, () => repository(stranger, 'website'))).scopegate.reason, 'unknown_app')
})

await checks.check('while the product is away a call is a 502, once, and the same client goes on', async () => {
  const data = await away(() => asked(1, () => told(502, () => repository(builder, 'website'))))
  assert.equal(data.scopegate.reason, 'upstream_unreachable')
  assert.equal((await repository(builder, 'website')).data.slug, 'website')
})

await checks.check('a gate that has no policy yet is asked once, and is no authentication error', async () => {
  const early = client({ token: world.keys.builder }, world.unready)
  const call = () => refused(503, () => repository(early, 'website'))
  assert.equal((await asked(1, call, world.unready_health)).scopegate.reason, 'no_policy')
})

checks.end()
