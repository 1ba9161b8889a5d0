// confluence.js, as an app uses it, against the gate. It throws what was answered, as it is.

import assert from 'node:assert/strict'

import { asked, away, Checks, givenBack, load, revoked, seen, unseen, world } from './checks.mjs'

const { ConfluenceClient } = load('confluence.js')

const NEVER = world.never
const host = world.gates.confluence
const bearer = (key) => ({ authentication: { oauth2: { accessToken: key } } })
const docs = new ConfluenceClient({ host, ...bearer(world.keys.docs) })
const reader = new ConfluenceClient({ host, ...bearer(world.keys.reader) })
// An API token, shown as Basic.
const basic = { email: 'editor@example.com', apiToken: world.keys.editor }
const editor = new ConfluenceClient({ host, authentication: { basic } })
// A Connect app, which signs each call over its URL.
const jwt = { issuer: 'acme-diagrams', secret: world.secret, expiryTimeSeconds: 180 }
const diagrams = new ConfluenceClient({ host: world.gates['confluence-connect'], authentication: { jwt } })

const checks = new Checks('confluence.js')

/** What a call that is refused throws: the body of the answer. */
async function told(call) {
  let answer
  try {
    answer = await call()
  } catch (error) {
    assert.ok(error.scopegate, error.stack ?? JSON.stringify(error))
    return error
  }
  assert.fail(`it passed, with ${JSON.stringify(answer)}`)
}

/** The call is refused; what was answered. The vendor's host sees nothing. */
const refused = (call) => unseen(() => told(call))

const storage = (value) => ({ storage: { value, representation: 'storage' } })
const page = (client, id) => client.content.getContentById({ id })
const create = (client, space, title, more = {}) =>
  client.content.createContent({ type: 'page', title, space: { key: space }, body: storage('<p>one</p>'), ...more })
const attach = (client, id, filename, file) => {
  const attachments = [{ filename, file, minorEdit: true, comment: 'kept' }]
  return client.contentAttachments.createAttachments({ id, attachments })
}
const copy = (id, space, pageTitle) => {
  const bodyParameters = { destination: { type: 'space', value: space }, pageTitle }
  return docs.contentChildrenAndDescendants.copyPage({ id, bodyParameters })
}

/** Every page of a list, as an app reads it: what follows `base` is in `next`. */
async function all(client, first) {
  const found = []
  for (let page = first; ; ) {
    found.push(...page.results)
    const { base, next } = page._links
    if (!next) return found
    const url = new URL(base + next)
    assert.equal(url.origin, host, 'links name the gate')
    page = await client.sendRequest({ baseURL: url.origin, url: url.pathname + url.search, method: 'GET' })
  }
}

await checks.check('at start-up the user and the spaces are told', async () => {
  assert.equal((await docs.users.getCurrentUser()).displayName, 'Dana')
  assert.equal((await docs.space.getSpace({ spaceKey: 'ENG' })).key, 'ENG')
  assert.equal((await page(reader, '40000')).title, 'ENG page 1')
  assert.equal((await diagrams.space.getSpace({ spaceKey: 'ENG' })).key, 'ENG')
})

await checks.check("lists are read to the last page, though `base` names the vendor's host", async () => {
  const before = (await seen()).length
  const keys = (await all(docs, await docs.space.getSpaces())).map((space) => space.key)
  assert.deepEqual(keys, ['ENG', 'HR', 'LEGAL', 'OPS', 'WEB', 'DOCS', 'TEAM'])
  const pages = await all(docs, await docs.content.getContent({ spaceKey: 'ENG' }))
  const titles = [1, 2, 3, 4, 5, 6, 7].map((number) => `ENG page ${number}`)
  assert.deepEqual(pages.map((page) => page.title), titles)
  const found = await all(docs, await docs.search.searchByCQL({ cql: 'space = ENG and type = page' }))
  assert.deepEqual(found.map((each) => each.title), titles)
  const via = (await seen()).slice(before).map((each) => each.headers.via)
  assert.deepEqual(via, Array(9).fill('1.1 scopegate'))
})

await checks.check('writes: a page is made, changed, labelled, commented on and deleted', async () => {
  const { id } = await create(docs, 'ENG', 'made by confluence.js')
  const changed = { id, type: 'page', title: 'changed', version: { number: 2 }, body: storage('<p>two</p>') }
  assert.equal((await docs.content.updateContent(changed)).version.number, 2)
  await docs.contentLabels.addLabelsToContent({ id, body: [{ prefix: 'global', name: 'seen' }] })
  const comment = { type: 'comment', container: { id, type: 'page' }, body: storage('<p>an hour</p>') }
  assert.equal((await docs.content.createContent(comment)).type, 'comment')
  const below = await create(docs, 'ENG', 'below', { ancestors: [{ id }] })
  const children = await docs.contentChildrenAndDescendants.getContentChildrenByType({ id, type: 'page' })
  assert.deepEqual(children.results.map((page) => page.id), [below.id])
  await docs.content.deleteContent({ id: below.id })
  assert.equal((await page(docs, id)).title, 'changed')
})

await checks.check('a page is moved below another, and copied into another space', async () => {
  const at = docs.contentChildrenAndDescendants
  await at.movePage({ pageId: '40001', position: 'append', targetId: '40000' })
  const children = await at.getContentChildrenByType({ id: '40000', type: 'page' })
  assert.deepEqual(children.results.map((page) => page.id), ['40001'])
  const copied = await copy('40000', 'HR', 'copied')
  assert.deepEqual([copied.title, copied.space.key], ['copied', 'HR'])
})

await checks.check('a file is attached and read through the gate, which fetches it from a listed host', async () => {
  const { results } = await attach(docs, '40002', 'a.log', Buffer.from('a log'))
  const ids = { id: '40002', attachmentId: results[0].id }
  assert.equal(String(await reader.contentAttachments.downloadAttachment(ids)), 'a log')
})

await checks.check('an API token that is limited to a space reads and writes there', async () => {
  assert.equal((await create(editor, 'ENG', 'by an API token')).space.key, 'ENG')
  assert.equal((await editor.content.getContent({ spaceKey: 'ENG' })).results[0].title, 'ENG page 1')
  const shown = (await seen()).slice(-2).map((each) => each.headers.authorization.split(' ')[0])
  assert.deepEqual(shown, ['Basic', 'Basic'])
})

await checks.check('a write or upload that is refused for want of a scope names the scope', async () => {
  const data = await refused(() => create(reader, 'ENG', NEVER))
  assert.deepEqual([data.code, data.message], [401, 'Unauthorized; scope does not match'])
  assert.deepEqual([data.scopegate.reason, data.scopegate.needed], ['missing_scope', ['write:confluence-content']])
  const file = await refused(() => attach(reader, '40002', 'b.log', Buffer.from(NEVER)))
  assert.deepEqual(file.scopegate.needed, ['write:confluence-file'])
})

await checks.check('a space that is not granted, and one that was taken away, is not found', async () => {
  const not = await refused(() => create(editor, 'HR', NEVER))
  assert.equal(not.scopegate.reason, 'container_not_granted')
  const taken = await refused(() => editor.space.getSpace({ spaceKey: 'LEGAL' }))
  assert.equal(taken.scopegate.reason, 'container_revoked')
  assert.match(taken.errorMessages[0], /container_revoked: .*Ask: it-platform@example\.com\./)
  assert.equal((await editor.space.getSpace({ spaceKey: 'HR' })).key, 'HR')
})

await checks.check('a scope that is revoked while the script runs is missing at the next call', async () => {
  await create(docs, 'ENG', 'before')
  await revoked('SEC-1142', async () => {
    const { code, scopegate } = await refused(() => create(docs, 'ENG', NEVER))
    assert.deepEqual([code, scopegate.reason], [401, 'scope_revoked'])
    const at = docs.contentChildrenAndDescendants
    // The classic scope is granted still: the revocation reaches through to what the granular one stood for.
    await refused(() => at.movePage({ pageId: '40003', position: 'append', targetId: '40000' }))
    await refused(() => copy('40000', 'HR', NEVER))
    assert.equal((await page(docs, '40000')).id, '40000')
    await create(editor, 'ENG', 'another app goes on')
  })
  await givenBack(() => create(docs, 'ENG', 'after'))
})

await checks.check('a scope that is revoked in one space while the script runs is not found there', async () => {
  await create(editor, 'ENG', 'before')
  await revoked('SEC-1144', async () => {
    const { scopegate } = await refused(() => create(editor, 'ENG', NEVER))
    assert.equal(scopegate.reason, 'container_revoked')
    assert.equal((await editor.space.getSpace({ spaceKey: 'ENG' })).key, 'ENG')
    await create(docs, 'ENG', 'another app goes on')
  })
  await givenBack(() => create(editor, 'ENG', 'after'))
})

await checks.check('a Connect app signs its calls, with what stands in their query, and they pass', async () => {
  const found = await diagrams.search.searchByCQL({ cql: 'space = ENG and title ~ "a b"', limit: 2 })
  assert.equal(found.results.length, 2)
  const { id } = await create(diagrams, 'ENG', 'a diagram')
  await diagrams.content.deleteContent({ id })
})

await checks.check('DELETE is taken from it after the install: it reads and writes on', async () => {
  const { id } = await create(diagrams, 'ENG', 'another diagram')
  await revoked('SEC-7', async () => {
    const data = await refused(() => diagrams.content.deleteContent({ id }))
    assert.equal(data.errorMessages[0], 'Request not in an authorized API scope')
    assert.deepEqual([data.scopegate.reason, data.scopegate.needed[0]], ['scope_revoked', 'DELETE'])
    assert.equal((await page(diagrams, id)).title, 'another diagram')
    await create(diagrams, 'ENG', 'a third')
  })
})

await checks.check('a path that is no operation, and a strange key, are told as Confluence tells them', async () => {
  const call = { url: '/ui/1.0/content/40000/labels', method: 'GET' }
  assert.equal((await refused(() => docs.sendRequest(call))).scopegate.reason, 'unknown_operation')
  const stranger = new ConfluenceClient({ host, ...bearer('sg_of-nobody') })
  assert.equal((await refused(() => stranger.users.getCurrentUser())).scopegate.reason, 'unknown_app')
})

await checks.check('while the product is away a call is told so, once', async () => {
  const data = await away(() => asked(1, () => told(() => page(docs, '40000'))))
  assert.equal(data.scopegate.reason, 'upstream_unreachable')
  assert.equal((await page(docs, '40000')).id, '40000')
})

await checks.check('a gate that has no policy yet is asked once', async () => {
  const early = new ConfluenceClient({ host: world.unready, ...bearer(world.keys.docs) })
  const data = await unseen(() => asked(1, () => told(() => page(early, '40000')), world.unready_health))
  assert.equal(data.scopegate.reason, 'no_policy')
})

checks.end()
