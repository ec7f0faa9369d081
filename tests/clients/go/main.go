// A scenario through gorqlite: main ADDRESS[,ADDRESS...]; the first address is asked, the others may
// be dead. Ends with "N passed, M failed".
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rqlite/gorqlite"
)

var passed, failed int

func check(ok bool, format string, args ...interface{}) {
	if ok {
		passed++
		return
	}
	failed++
	fmt.Printf("FAIL "+format+"\n", args...)
}

func good(err error, what string) {
	check(err == nil, "%s: %v", what, err)
}

func run(address string, nodes int) {
	conn, err := gorqlite.Open("http://" + address + "/?level=strong")
	if err != nil {
		check(false, "open: %v", err)
		return
	}
	defer conn.Close()

	leader, err := conn.Leader()
	good(err, "leader")
	check(leader != "", "no leader")
	peers, err := conn.Peers()
	good(err, "peers")
	check(len(peers) >= 1 && len(peers) <= nodes, "peers: %v", peers)

	_, err = conn.WriteOne("DROP TABLE IF EXISTS go_items")
	good(err, "drop")
	_, err = conn.WriteOne("CREATE TABLE go_items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, made DATETIME, paid INTEGER)")
	good(err, "create")
	written, err := conn.WriteOneParameterized(gorqlite.ParameterizedStatement{
		Query:     "INSERT INTO go_items(name, price, made, paid) VALUES(?, ?, ?, ?)",
		Arguments: []interface{}{"a <b> é", 2.5, "2024-01-02 03:04:05", true},
	})
	good(err, "insert")
	check(written.LastInsertID == 1 && written.RowsAffected == 1, "insert: id %d, rows %d", written.LastInsertID, written.RowsAffected)

	// Transactions are its default: the second statement undoes the first.
	_, err = conn.Write([]string{"INSERT INTO go_items(name) VALUES('b')", "INSERT INTO go_items(name) VALUES('a <b> é')"})
	check(err != nil && strings.Contains(err.Error(), "UNIQUE"), "duplicate: %v", err)

	rows, err := conn.QueryOne("SELECT id, name, price, made, paid FROM go_items ORDER BY id")
	good(err, "query")
	check(rows.NumRows() == 1, "rows after a failed transaction: %d", rows.NumRows())
	if rows.Next() {
		var id int64
		var name string
		var price float64
		var made time.Time
		var paid int64
		good(rows.Scan(&id, &name, &price, &made, &paid), "scan")
		check(id == 1 && name == "a <b> é" && price == 2.5 && paid == 1, "row: %d %q %v %v", id, name, price, paid)
		check(made.Equal(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)), "time: %v", made)
	}

	sequence, err := conn.QueueOne("INSERT INTO go_items(name) VALUES('queued')")
	good(err, "queue")
	check(sequence > 0, "sequence number %d", sequence)
	found := false
	for i := 0; i < 100 && !found; i++ {
		queued, err := conn.QueryOne("SELECT name FROM go_items WHERE name = 'queued'")
		found = err == nil && queued.NumRows() == 1
		time.Sleep(20 * time.Millisecond)
	}
	check(found, "what was queued isn't there")

	results, err := conn.RequestParameterized([]gorqlite.ParameterizedStatement{
		{Query: "INSERT INTO go_items(name) VALUES(?)", Arguments: []interface{}{"c"}},
		{Query: "SELECT count(*) FROM go_items"},
	})
	good(err, "request")
	check(len(results) == 2 && results[0].Write != nil && results[1].Query != nil, "request: shapes of %d results", len(results))
	_, err = conn.QueryOne("SELECT * FROM nope")
	check(err != nil && strings.Contains(err.Error(), "no such table"), "an error of SQL: %v", err)
	for _, level := range []string{"none", "weak", "linearizable", "strong"} {
		again, err := gorqlite.Open("http://" + address + "/?level=" + level)
		good(err, "open with "+level)
		if err == nil {
			_, err = again.QueryOne("SELECT count(*) FROM go_items")
			good(err, "query with "+level)
			again.Close()
		}
	}
}

func main() {
	addresses := strings.Split(os.Args[1], ",")
	run(addresses[0], len(addresses))
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
