// jira.js, as an app uses it, against the gate.

import assert from 'node:assert/strict'

import { asked, away, Checks, givenBack, load, revoked, seen, thrown, unseen, world } from './checks.mjs'

const { HttpException, Version2Client, Version3Client } = load('jira.js')

const NEVER = world.never
const host = world.gates.jira
const bearer = (key) => ({ authentication: { oauth2: { accessToken: key } } })
const timetracker = new Version3Client({ host, ...bearer(world.keys.timetracker) })
const reader = new Version3Client({ host, ...bearer(world.keys.reader) })
// An API token, shown as Basic.
const basic = { email: 'reporter@example.com', apiToken: world.keys.reporter }
const reporter = new Version3Client({ host, authentication: { basic } })
// A Connect app, which signs each call over its URL.
const jwt = { issuer: 'acme-gantt', secret: world.secret, expiryTimeSeconds: 180 }
const gantt = new Version3Client({ host: world.gates['jira-connect'], authentication: { jwt } })

const checks = new Checks('jira.js')

/** The call ends in the SDK's own error with this status; what was answered. The vendor's host sees nothing. */
const refused = (status, call) => unseen(() => told(status, call))

async function told(status, call) {
  const error = await thrown(HttpException, call)
  assert.equal(error.status, status)
  const { data } = error.response
  // Where it expects the bytes of a file, it gives an error's as bytes too.
  return Buffer.isBuffer(data) ? JSON.parse(data) : data
}

const task = (project, summary) => ({ project: { key: project }, summary, issuetype: { name: 'Task' } })
const create = (client, project, summary) => client.issues.createIssue({ fields: task(project, summary) })
const issue = (client, issueIdOrKey) => client.issues.getIssue({ issueIdOrKey })
const comment = (client, issueIdOrKey, comment) => client.issueComments.addComment({ issueIdOrKey, comment })

await checks.check('at start-up serverInfo and myself are told', async () => {
  for (const client of [timetracker, reader, reporter, gantt]) {
    assert.equal((await client.serverInfo.getServerInfo()).deploymentType, 'Cloud')
  }
  assert.equal((await timetracker.myself.getCurrentUser()).displayName, 'Dana')
})

await checks.check('reads: the fields, an issue by v3 and by v2, its transitions', async () => {
  assert.equal((await timetracker.issueFields.getFields()).length, 3)
  assert.equal((await issue(timetracker, 'PROJ-1')).fields.status.name, 'To Do')
  const second = new Version2Client({ host, ...bearer(world.keys.timetracker) })
  assert.equal((await issue(second, 'PROJ-1')).key, 'PROJ-1')
  const { transitions } = await timetracker.issues.getTransitions({ issueIdOrKey: 'PROJ-1' })
  assert.deepEqual(transitions.map((each) => each.name), ['To Do', 'In Progress', 'Done'])
})

await checks.check('the projects are read to the last page', async () => {
  const keys = []
  for (let startAt = 0, page; !page?.isLast; startAt += page.values.length) {
    page = await timetracker.projects.searchProjects({ startAt })
    keys.push(...page.values.map((project) => project.key))
  }
  assert.deepEqual(keys, ['PROJ', 'SEC', 'LEGAL', 'HR', 'OPS', 'WEB', 'APP'])
})

await checks.check('a search is read to the last page, by tokens', async () => {
  const keys = []
  for (let page = {}; !page.isLast; ) {
    const { nextPageToken } = page
    page = await timetracker.issueSearch.searchForIssuesUsingJqlEnhancedSearch({ jql: 'project = PROJ', nextPageToken })
    keys.push(...page.issues.map((each) => each.key))
  }
  assert.deepEqual(keys, [1, 2, 3, 4, 5, 6, 7].map((number) => `PROJ-${number}`))
})

await checks.check('writes: an issue, a field, a comment, a transition', async () => {
  const { key } = await create(timetracker, 'PROJ', 'made by jira.js')
  await timetracker.issues.editIssue({ issueIdOrKey: key, fields: { summary: 'changed' } })
  await comment(timetracker, key, 'an hour')
  await timetracker.issues.doTransition({ issueIdOrKey: key, transition: { id: '31' } })
  const { fields } = await issue(timetracker, key)
  assert.deepEqual([fields.summary, fields.status.name], ['changed', 'Done'])
})

await checks.check('an attachment is written, and read by who may have a bearer URL', async () => {
  const attachment = { filename: 'a.log', file: Buffer.from('a log') }
  const [{ id }] = await timetracker.issueAttachments.addAttachment({ issueIdOrKey: 'PROJ-3', attachment })
  const content = await timetracker.issueAttachments.getAttachmentContent({ id })
  assert.equal(Buffer.from(content).toString(), 'a log')
  // The vendor may be asked where it leads to; that is what the app must not have.
  const data = await told(401, () => reader.issueAttachments.getAttachmentContent({ id }))
  assert.ok(data.scopegate.needed.includes('gate:mint'), data.scopegate.needed)
})

await checks.check('an attachment on a host that the catalog lists is fetched by the gate, for who may have no bearer URL', async () => {
  const attachment = { filename: 'listed-film.mp4', file: Buffer.from('a film') }
  const [{ id }] = await timetracker.issueAttachments.addAttachment({ issueIdOrKey: 'PROJ-3', attachment })
  const content = await reader.issueAttachments.getAttachmentContent({ id })
  assert.equal(Buffer.from(content).toString(), 'a film')
})

await checks.check('an API token that is limited to a project reads and writes there', async () => {
  assert.equal((await issue(reporter, 'PROJ-4')).key, 'PROJ-4')
  await comment(reporter, 'PROJ-4', 'seen')
  const shown = (await seen()).slice(-2).map((each) => each.headers.authorization.split(' ')[0])
  assert.deepEqual(shown, ['Basic', 'Basic'])
})

await checks.check('a write that is refused for want of a scope is a 401 that names the scope', async () => {
  const data = await refused(401, () => create(reader, 'PROJ', NEVER))
  assert.deepEqual([data.code, data.message], [401, 'Unauthorized; scope does not match'])
  assert.deepEqual([data.scopegate.reason, data.scopegate.needed], ['missing_scope', ['write:jira-work']])
})

await checks.check('a project that is not granted, and one that was taken away, is a 404', async () => {
  const not = await refused(404, () => create(reporter, 'SEC', NEVER))
  assert.equal(not.scopegate.reason, 'container_not_granted')
  const taken = await refused(404, () => issue(reporter, 'LEGAL-1'))
  assert.equal(taken.scopegate.reason, 'container_revoked')
  assert.match(taken.errorMessages[0], /container_revoked: .*Ask: it-platform@example\.com\./)
  assert.equal((await issue(reporter, 'SEC-1')).key, 'SEC-1')
})

await checks.check(
  'a scope that is revoked while the script runs is a 401 at the next call, and reading works on',
  async () => {
    await comment(timetracker, 'PROJ-1', 'before')
    await revoked('SEC-1142', async () => {
      const { scopegate } = await refused(401, () => comment(timetracker, 'PROJ-1', NEVER))
      assert.deepEqual([scopegate.reason, scopegate.needed], ['scope_revoked', ['write:jira-work']])
      await refused(401, () => create(timetracker, 'SEC', NEVER))
      assert.equal((await issue(timetracker, 'PROJ-1')).key, 'PROJ-1')
      await comment(reporter, 'PROJ-1', 'another app goes on')
    })
    await givenBack(() => comment(timetracker, 'PROJ-1', 'after'))
  },
)

await checks.check(
  'a scope that is revoked in one project while the script runs is a 404 there, and reading works on',
  async () => {
    await comment(reporter, 'PROJ-1', 'before')
    await revoked('SEC-1143', async () => {
      const { scopegate } = await refused(404, () => comment(reporter, 'PROJ-1', NEVER))
      assert.equal(scopegate.reason, 'container_revoked')
      assert.equal((await issue(reporter, 'PROJ-1')).key, 'PROJ-1')
      await comment(timetracker, 'PROJ-1', 'another app goes on')
    })
    await givenBack(() => comment(reporter, 'PROJ-1', 'after'))
  },
)

const scheme = () => gantt.permissionSchemes.updatePermissionScheme({ schemeId: 10000, name: NEVER })
const hook = () => {
  const webhooks = [{ events: ['jira:issue_created'], jqlFilter: 'project = PROJ' }]
  return gantt.webhooks.registerDynamicWebhooks({ url: `https://evil.example/${NEVER}`, webhooks })
}

await checks.check('a Connect app signs its calls, with what stands in their query, and they pass', async () => {
  assert.equal((await issue(gantt, 'PROJ-1')).key, 'PROJ-1')
  const page = await gantt.issueSearch.searchForIssuesUsingJqlEnhancedSearch({
    jql: 'project = PROJ AND summary ~ "a b"', fields: ['summary', 'status'],
  })
  assert.equal(page.issues.length, 3)
  await gantt.issues.editIssue({ issueIdOrKey: 'PROJ-6', fields: { summary: 'planned' } })
})

await checks.check('ADMIN is taken from it after the install: no schemes, no webhooks, but issues', async () => {
  await revoked('SEC-7', async () => {
    const admin = await refused(403, scheme)
    assert.equal(admin.errorMessages[0], 'Request not in an authorized API scope')
    assert.equal(admin.scopegate.reason, 'scope_revoked')
    assert.ok(admin.scopegate.needed.includes('ADMIN'), admin.scopegate.needed)
    // The vendor asks READ for it, which the app keeps: what is missing is the gate's own guard.
    const webhook = await refused(403, hook)
    assert.ok(webhook.scopegate.needed.includes('gate:deliver'), webhook.scopegate.needed)
    assert.ok(!webhook.scopegate.needed.includes('ADMIN'), webhook.scopegate.needed)
    assert.equal((await issue(gantt, 'PROJ-1')).key, 'PROJ-1')
    await gantt.issues.editIssue({ issueIdOrKey: 'PROJ-6', fields: { summary: 'planned again' } })
  })
})

await checks.check('a path that is no operation, and a strange key, are told as Jira tells them', async () => {
  const call = { url: '/rest/agile/1.0/board', method: 'GET' }
  assert.equal((await refused(404, () => timetracker.sendRequest(call))).scopegate.reason, 'unknown_operation')
  const stranger = new Version3Client({ host, ...bearer('sg_of-nobody') })
  assert.equal((await refused(401, () => stranger.myself.getCurrentUser())).scopegate.reason, 'unknown_app')
})

// With a refresh token the SDK renews its token on a 401. It calls Atlassian's own hosts then: its calls of the API are
// led to the gate, as a name server would, and its calls for tokens are counted.
const refreshes = []
globalThis.fetch = async (url) => {
  refreshes.push(String(url))
  return Response.json({ access_token: world.keys.reader, refresh_token: 'next', expires_in: 3600 })
}

function refreshing(key, gate) {
  const oauth2 = { accessToken: key, refreshToken: 'first', clientId: 'id', clientSecret: 'secret', cloudId: 'acme' }
  const client = new Version3Client({ authentication: { oauth2 } })
  client.instance.interceptors.request.use((config) => {
    config.baseURL = config.baseURL.replace('https://api.atlassian.com', gate)
    return config
  })
  return client
}

await checks.check('while the product is away a call is a 502, once, and no token is renewed', async () => {
  const client = refreshing(world.keys.reader, host)
  const error = await away(() => asked(1, () => thrown(HttpException, () => issue(client, 'PROJ-1'))))
  assert.equal(error.status, 502)
  assert.equal((await issue(client, 'PROJ-1')).key, 'PROJ-1')
  assert.deepEqual(refreshes, [])
})

await checks.check('a gate that has no policy yet is asked once, and no token is renewed', async () => {
  const client = refreshing(world.keys.reader, world.unready)
  const call = () => thrown(HttpException, () => client.myself.getCurrentUser())
  const error = await unseen(() => asked(1, call, world.unready_health))
  assert.equal(error.status, 503)
  assert.deepEqual(refreshes, [])
})

await checks.check("Atlassian's 401 for a missing scope makes it renew its token once, not in a loop", async () => {
  const client = refreshing(world.keys.reader, host)
  const data = await asked(2, () => refused(401, () => create(client, 'PROJ', NEVER)))
  assert.deepEqual(data.scopegate.needed, ['write:jira-work'])
  assert.equal(refreshes.length, 1)
})

checks.end()
