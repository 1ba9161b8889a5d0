// @slack/web-api, as an app uses it, against the gate.

import assert from 'node:assert/strict'

import { asked, away, Checks, givenBack, load, revoked, seen, thrown, unseen, world } from './checks.mjs'

const { WebClient, WebAPIPlatformError, WebAPIHTTPError, LogLevel } = load('@slack/web-api')

const NEVER = world.never
const slackApiUrl = `${world.gates.slack}/api/`
// What its logger would write on standard error: the refusals that are asked for here.
const logged = []
const keep = (...words) => logged.push(words.join(' '))
const silent = () => {}
const level = { setLevel: silent, getLevel: () => LogLevel.WARN, setName: silent }
const logger = { ...level, debug: silent, info: silent, warn: keep, error: keep }
// Two tries more, at once. The usual is ten in half an hour; what counts is that it ends.
const retryConfig = { retries: 2, minTimeout: 1, maxTimeout: 2 }
const client = (token, url = slackApiUrl) => new WebClient(token, { slackApiUrl: url, logger, retryConfig })
const bot = client(world.keys.bot)
const dana = client(world.keys.dana)

const checks = new Checks('@slack/web-api')

/** The call ends in the SDK's own error with this code, and the vendor's host sees nothing. */
async function refused(code, call) {
  const error = await unseen(() => thrown(WebAPIPlatformError, call))
  assert.equal(error.data.error, code)
  return error
}

async function all(pages, member) {
  const found = []
  for await (const page of pages) found.push(page[member])
  return found
}

await checks.check('at start-up auth.test tells whose token it is, for bot and user', async () => {
  assert.equal((await bot.auth.test()).user_id, 'U0ASSIST')
  assert.equal((await dana.auth.test()).user_id, 'U0DANA')
  assert.equal((await bot.api.test({ foo: 'bar' })).args.foo, 'bar')
})

await checks.check("reads: team, a user, a channel's messages", async () => {
  assert.equal((await bot.team.info()).team.domain, 'acme')
  assert.equal((await bot.users.info({ user: 'U0DANA' })).user.name, 'dana')
  assert.equal((await bot.conversations.info({ channel: 'C0HELP' })).channel.name, 'help')
  const history = await bot.conversations.history({ channel: 'C0HELP', limit: 1 })
  assert.match(history.messages[0].text, /my laptop is slow/)
})

await checks.check('the channels are listed to the last page', async () => {
  const pages = await all(bot.paginate('conversations.list', { limit: 2 }), 'channels')
  assert.deepEqual(pages.map((page) => page.length), [2, 2, 1])
  assert.equal(pages.at(-1)[0].id, 'C0NEWS')
})

await checks.check('the users are listed to the last page', async () => {
  const pages = await all(bot.paginate('users.list', { limit: 2 }), 'members')
  assert.deepEqual(pages.flat().map((user) => user.name), ['dana', 'lee', 'kim', 'assist', 'rob'])
})

await checks.check("a channel's messages are read to the last page", async () => {
  const pages = await all(bot.paginate('conversations.history', { channel: 'C0HELP', limit: 2 }), 'messages')
  assert.equal(pages.flat().length, 5)
})

await checks.check('writes, always as a form: a message, blocks, a reaction', async () => {
  const sent = await bot.chat.postMessage({ channel: 'C0HELP', text: 'on it' })
  assert.equal(sent.message.text, 'on it')
  const blocks = [{ type: 'section', text: { type: 'mrkdwn', text: 'a & b = c' } }]
  await bot.chat.postMessage({ channel: 'C0TRIAGE', text: 'see', blocks })
  await bot.reactions.add({ channel: 'C0HELP', timestamp: sent.ts, name: 'eyes' })
  const kinds = new Set((await seen()).map((each) => each.headers['content-type']))
  assert.deepEqual([...kinds], ['application/x-www-form-urlencoded'])
})

await checks.check('a direct message is opened with people, by whoever may write to one and to several', async () => {
  assert.equal((await bot.conversations.open({ users: 'U0LEE,U0KIM' })).channel.id, 'D0LEE')
  await refused('not_allowed_token_type', () => dana.conversations.open({ users: 'U0LEE' }))
})

await checks.check('a file is uploaded by who may have a bearer URL, and by nobody else', async () => {
  const upload = (filename) => bot.filesUploadV2({ channel_id: 'C0HELP', filename, content: 'a screenshot' })
  const done = await upload('screen.txt')
  const { id } = done.files[0].files[0]
  assert.equal((await bot.files.info({ file: id })).file.name, 'screen.txt')
  await revoked('SEC-1145', async () => {
    const { data } = await refused('missing_scope', () => upload(NEVER))
    assert.ok(data.response_metadata.acceptedScopes.includes('gate:mint'), data.needed)
    await bot.files.info({ file: id })
  })
})

await checks.check('a scope that is not granted is missing_scope: needed, provided, acceptedScopes', async () => {
  const { data } = await refused('missing_scope', () => bot.pins.add({ channel: 'C0HELP', timestamp: NEVER }))
  assert.equal(data.needed, 'pins:write')
  assert.ok(data.provided.split(',').includes('chat:write'), data.provided)
  assert.deepEqual(data.response_metadata.acceptedScopes, ['pins:write'])
  assert.ok(data.response_metadata.scopes.includes('chat:write'))
})

await checks.check('its log says what was missing and whom to ask', async () => {
  logged.length = 0
  await refused('missing_scope', () => bot.pins.add({ channel: 'C0HELP', timestamp: NEVER }))
  const line = logged.find((each) => each.includes('missing_scope'))
  assert.match(line, /Needed: pins:write\..*Ask: it-platform@example\.com\. Decision: [0-9a-f]{32}\./)
})

await checks.check('a channel that is not granted is channel_not_found', async () => {
  const { data } = await refused('channel_not_found', () => bot.chat.postMessage({ channel: 'C0ADS', text: NEVER }))
  assert.equal(data.scopegate.reason, 'container_not_granted')
})

await checks.check('a channel that was taken away is channel_not_found, and the next channel is read', async () => {
  const { data } = await refused('channel_not_found', () => bot.conversations.history({ channel: 'C0EXEC' }))
  assert.equal(data.scopegate.reason, 'container_revoked')
  await bot.conversations.history({ channel: 'C0ADS' })
})

const react = (timestamp) => bot.reactions.add({ channel: 'C0HELP', timestamp, name: 'eyes' })

await checks.check(
  'a scope that is revoked while the script runs is missing_scope at the next call, and the rest works on',
  async () => {
    await react('1764000000.000001')
    await revoked('SEC-1142', async () => {
      const { data } = await refused('missing_scope', () => react(NEVER))
      assert.deepEqual([data.needed, data.scopegate.reason], ['reactions:write', 'scope_revoked'])
      await bot.chat.postMessage({ channel: 'C0HELP', text: 'still here' })
    })
    await givenBack(() => react('1764000000.000002'))
  },
)

await checks.check(
  'a channel that is revoked while the script runs is channel_not_found, and the next channel is served',
  async () => {
    await bot.chat.postMessage({ channel: 'C0HELP', text: 'before' })
    await revoked('SEC-1143', async () => {
      await refused('channel_not_found', () => bot.chat.postMessage({ channel: 'C0HELP', text: NEVER }))
      await bot.chat.postMessage({ channel: 'C0TRIAGE', text: 'over here' })
      await bot.conversations.history({ channel: 'C0HELP' })
    })
    await givenBack(() => bot.chat.postMessage({ channel: 'C0HELP', text: 'and back' }))
  },
)

const edit = (text) => dana.chat.update({ channel: 'C0ADS', ts: '1764000000.000001', text })

await checks.check('chat:write is taken from the user token and left to the bot token', async () => {
  await edit('edited for an agent')
  await revoked('SEC-1144', async () => {
    assert.equal((await refused('missing_scope', () => edit(NEVER))).data.needed, 'chat:write')
    await refused('missing_scope', () => dana.chat.delete({ channel: 'C0ADS', ts: NEVER }))
    await bot.chat.postMessage({ channel: 'C0HELP', text: 'as the app' })
    await dana.conversations.history({ channel: 'C0ADS' })
  })
  await givenBack(() => edit('edited again'))
})

await checks.check('a scope of one token kind is no scope of the other', async () => {
  const { data } = await refused('not_allowed_token_type', () => dana.users.list({}))
  assert.equal(data.scopegate.reason, 'actor_not_allowed')
})

await checks.check('an unknown method and a strange token are told as Slack tells them', async () => {
  await refused('unknown_method', () => bot.apiCall('no.such.method'))
  await refused('invalid_auth', () => client('xoxb-of-nobody').auth.test())
})

await checks.check('while the product is away it tries as often as it was told, and goes on afterwards', async () => {
  const error = await away(() => asked(3, () => thrown(WebAPIHTTPError, () => bot.users.list({}))))
  assert.deepEqual([error.statusCode, error.body.error], [502, 'service_unavailable'])
  assert.ok((await bot.users.list({})).ok)
})

await checks.check('a gate that has no policy yet is asked as often as it was told; the token is kept', async () => {
  const early = client(world.keys.bot, `${world.unready}/api/`)
  const call = () => thrown(WebAPIHTTPError, () => early.auth.test())
  const error = await unseen(() => asked(3, call, world.unready_health))
  assert.deepEqual([error.statusCode, error.body.error], [503, 'service_unavailable'])
  assert.ok(Number(error.headers['retry-after']) > 0)
  assert.equal(early.token, world.keys.bot)
})

checks.end()
