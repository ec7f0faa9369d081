-- wrk script for http_server.c: POST of a JSON body of 60 bytes
wrk.method = "POST"
wrk.body = '[["INSERT INTO foo(name, age) VALUES(?, ?)", "fiona", 2012]]'
wrk.headers["Content-Type"] = "application/json"
