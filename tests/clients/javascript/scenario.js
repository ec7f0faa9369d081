// A scenario through rqlite-js: scenario.js ADDRESS[,ADDRESS...]; all are told to the client, the last
// ones may be dead. Ends with "N passed, M failed".
const { DataApiClient, StatusApiClient } = require('rqlite-js')

let passed = 0
let failed = 0

function check (ok, text) {
  if (ok) {
    passed++
  } else {
    failed++
    console.log('FAIL ' + text)
  }
}

async function run (addresses) {
  const hosts = addresses.map((address) => 'http://' + address)
  const client = new DataApiClient(hosts)
  let results = await client.execute('DROP TABLE IF EXISTS js_items')
  check(!results.hasError(), 'drop: ' + results.getFirstError())
  results = await client.execute('CREATE TABLE js_items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL)')
  check(!results.hasError(), 'create: ' + results.getFirstError())
  results = await client.execute([['INSERT INTO js_items(name, price) VALUES(?, ?)', 'a <b> é', 2.5]])
  check(results.get(0).getLastInsertId() === 1 && results.get(0).getRowsAffected() === 1, 'insert: ' + results.toString())
  results = await client.execute([
    ['INSERT INTO js_items(name) VALUES(:name)', { name: 'b' }],
    'INSERT INTO js_items(name) VALUES(\'b\')'
  ], { transaction: true })
  check(results.hasError() && /UNIQUE/.test(results.getFirstError().message), 'duplicate: ' + results.toString())
  results = await client.query('SELECT id, name, price FROM js_items ORDER BY id', { level: 'strong' })
  check(results.toArray().length === 1, 'rows after a failed transaction: ' + results.toString())
  check(results.get(0).get('name') === 'a <b> é' && results.get(0).get('price') === 2.5, 'row: ' + results.toString())
  results = await client.query([['SELECT name FROM js_items WHERE id = ?', 1]], { level: 'linearizable' })
  check(results.get(0).get('name') === 'a <b> é', 'query with a parameter: ' + results.toString())
  results = await client.query('SELECT * FROM nope')
  check(results.hasError() && /no such table/.test(results.getFirstError().message), 'an error of SQL')
  for (const level of ['none', 'weak', 'linearizable', 'strong']) {
    results = await client.query('SELECT count(*) AS n FROM js_items', { level })
    check(!results.hasError(), 'level ' + level)
  }
  // Each alive node in turn; writes go to the leader by its redirections.
  for (let i = 0; i < 4; i++) {
    results = await client.execute([['INSERT INTO js_items(name) VALUES(?)', 'turn ' + i]])
    check(!results.hasError(), 'turn ' + i)
  }
  const status = await new StatusApiClient(hosts.slice(0, 1)).status()
  check(status.body.store.leader.node_id !== '', 'status: leader')
}

run(process.argv[2].split(',')).catch((e) => check(false, e.stack)).then(() => {
  console.log(passed + ' passed, ' + failed + ' failed')
  process.exit(failed > 0 || passed === 0 ? 1 : 0)
})
