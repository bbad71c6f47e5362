'use strict'
const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, test } = require('node:test')
const { Client } = require('pg')
const blog = require('./blog.js')

const client = new Client()

before(async () => {
  await client.connect()
  await client.query(blog.schema)
})
after(() => client.end())

// A transaction for each test; its end takes back what the test wrote, and with it what the test counted.
beforeEach(() => client.query("BEGIN; INSERT INTO posts (id, title) VALUES (7, 'seven')"))
afterEach(() => client.query('ROLLBACK'))

const counted = async (id = 7) => (await blog.page(client, { after: id - 1, length: 1 }))[0]
const comment = (...postIds) =>
  client.query("INSERT INTO comments (post_id, body) SELECT unnest($1::bigint[]), '…'", [postIds])

test('views are counted', async () => {
  await blog.view(client, 7)
  await blog.view(client, 7)
  assert.equal((await counted()).views, 2)
})

test('a view that is rolled back never counted', async () => {
  await blog.view(client, 7)
  await client.query('SAVEPOINT request')
  await blog.view(client, 7)
  await client.query('ROLLBACK TO request')
  assert.equal((await counted()).views, 1)
})

test('views come in batches', async () => {
  await blog.viewMany(client, [7, 8, 7])
  assert.equal((await counted()).views, 2)
})

test('a post that is not saved has no counter', async () => {
  for (const missing of [undefined, null]) {
    await assert.rejects(() => blog.view(client, missing), TypeError)
    await assert.rejects(() => blog.viewMany(client, [7, missing]), TypeError)
    await assert.rejects(() => blog.like(client, missing, 1), TypeError)
  }
  assert.equal((await counted()).views, 0)
})

test('nobody likes nothing', async () => {
  for (const nobody of [undefined, null]) {
    for (const use of [blog.like, blog.unlike, blog.liked]) {
      await assert.rejects(() => use(client, 7, nobody), TypeError)
    }
  }
  assert.equal((await counted()).likes, 0)
})

test('a page of 50 posts is one statement', async () => {
  const ids = Array.from({ length: 50 }, (_, n) => 100 + n)
  await client.query('INSERT INTO posts (id, title) SELECT id, id FROM unnest($1::bigint[]) AS id', [ids])
  for (const id of ids) await client.query('SELECT counter_incr($1, $2)', [`post:${id}`, id])
  await comment(...ids.filter((id) => id % 3 > 0), ...ids.filter((id) => id % 3 > 1))
  const statements = []
  const counting = {
    query(...query) {
      statements.push(query[0])
      return client.query(...query)
    },
  }
  const shown = await blog.page(counting, { after: 99 })
  assert.deepEqual(
    shown,
    ids.map((id) => ({ id: String(id), title: String(id), views: id, likes: 0, comments: id % 3 })),
  )
  assert.equal(statements.length, 1)
})

test('a person likes a post once', async () => {
  assert.equal(await blog.like(client, 7, 1), true)
  assert.equal(await blog.like(client, 7, '1'), false)
  assert.equal(await blog.like(client, 7, 2n), true)
  assert.equal((await counted()).likes, 2)
  assert.equal(await blog.liked(client, 7, 1), true)
  assert.equal(await blog.unlike(client, 7, 1), true)
  assert.equal((await counted()).likes, 1)
})

test('comments are counted whatever writes them', async () => {
  await client.query("INSERT INTO posts (id, title) VALUES (8, 'eight')")
  await comment(7, 7, 8)
  assert.equal((await counted()).comments, 2)
  await client.query('UPDATE comments SET post_id = 8 WHERE id = (SELECT min(id) FROM comments WHERE post_id = 7)')
  assert.equal((await counted()).comments, 1)
  assert.equal((await counted(8)).comments, 2)
  await client.query('DELETE FROM comments WHERE id = (SELECT min(id) FROM comments WHERE post_id = 8)')
  assert.equal((await counted(8)).comments, 1)
  await client.query('DELETE FROM posts WHERE id = 8')
  const { rows } = await client.query("SELECT counter_get('comments:8') AS comments")
  assert.deepEqual(rows, [{ comments: '0' }])
})

for (const again of ['', ' again']) {
  test(`counts from nothing${again}`, async () => {
    assert.deepEqual(await counted(), { id: '7', title: 'seven', views: 0, likes: 0, comments: 0 })
    await blog.view(client, 7)
    await blog.like(client, 7, 1)
    await comment(7)
    assert.deepEqual(await counted(), { id: '7', title: 'seven', views: 1, likes: 1, comments: 1 })
  })
}
