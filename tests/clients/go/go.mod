module rq/tests/clients/go

go 1.19

require github.com/rqlite/gorqlite v0.0.0-20261020015727-7224ce2bd419
