"""A scenario through pyrqlite and one through sqlalchemy-rqlite: scenario.py ADDRESS[,ADDRESS...]; the
first address is asked, the others may be dead. Ends with "N passed, M failed"."""

import datetime
import sys
import time

import pyrqlite.dbapi2 as dbapi2
import sqlalchemy
from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, String, create_engine, func, select
from sqlalchemy.dialects import registry
from sqlalchemy.orm import Session, declarative_base, relationship

passed = failed = 0


def check(ok, text):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL " + text)


def raises(kind, what, text):
    try:
        what()
    except kind as e:
        check(text in str(e), "%s isn't in %s" % (text, e))
    else:
        check(False, "no error, expected " + text)


def dbapi(host, port):
    connection = dbapi2.connect(host=host, port=port, detect_types=dbapi2.PARSE_DECLTYPES)
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS py_items")
    cursor.execute("CREATE TABLE py_items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, made TIMESTAMP, data BLOB)")
    made = datetime.datetime(2024, 1, 2, 3, 4, 5)
    cursor.execute("INSERT INTO py_items(name, price, made) VALUES(?, ?, ?)", ("it's <é>", 2.5, made))
    check(cursor.lastrowid == 1, "insert: id %s" % cursor.lastrowid)
    cursor.executemany("INSERT INTO py_items(name) VALUES(?)", [("n%d" % i,) for i in range(10)])
    cursor.execute("SELECT id, name, price, made FROM py_items WHERE id = ?", (1,))
    row = cursor.fetchone()
    check(tuple(row) == (1, "it's <é>", 2.5, made), "row: %r" % (tuple(row),))
    check([d[0] for d in cursor.description] == ["id", "name", "price", "made"], "description")
    cursor.execute("SELECT count(*) FROM py_items")
    check(tuple(cursor.fetchone()) == (11,), "count")
    raises(dbapi2.Error, lambda: cursor.execute("INSERT INTO py_items(name) VALUES('n1')"), "UNIQUE constraint failed")
    raises(dbapi2.Error, lambda: cursor.execute("SELECT * FROM nope"), "no such table")
    cursor.execute("UPDATE py_items SET price = 1 WHERE price IS NULL")
    check(cursor.rowcount == 10, "update: %s" % cursor.rowcount)
    cursor.execute("SELECT * FROM py_items WHERE id < 0")
    check(cursor.fetchall() == [], "no rows")
    cursor.execute("INSERT INTO py_items(name) VALUES('queued')", queue=True)
    for _ in range(100):
        cursor.execute("SELECT count(*) FROM py_items WHERE name = 'queued'")
        if tuple(cursor.fetchone()) == (1,):
            break
        time.sleep(0.02)
    else:
        check(False, "what was queued isn't there")
    cursor.execute("SELECT count(*) FROM py_items", consistency="strong")
    check(tuple(cursor.fetchone()) == (12,), "count with strong")
    connection.close()


Base = declarative_base()


class Author(Base):
    __tablename__ = "py_authors"
    id = Column(Integer, primary_key=True)
    name = Column(String(40), nullable=False)
    books = relationship("Book", back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "py_books"
    id = Column(Integer, primary_key=True)
    title = Column(String(80))
    price = Column(Float)
    lent = Column(Boolean)
    author_id = Column(Integer, ForeignKey("py_authors.id"))
    author = relationship("Author", back_populates="books")


def orm(host, port):
    registry.register("rqlite.pyrqlite", "sqlalchemy_rqlite.pyrqlite", "dialect")
    engine = create_engine("rqlite+pyrqlite://%s:%d/" % (host, port))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    names = sqlalchemy.inspect(engine).get_table_names()
    check({"py_authors", "py_books"} <= set(names), "tables: %s" % names)
    with Session(engine) as session:
        for i in range(3):
            author = Author(name="author %d" % i)
            author.books = [Book(title="book %d %d" % (i, k), price=i + k / 2, lent=k == 0) for k in range(3)]
            session.add(author)
        session.commit()
    with Session(engine) as session:
        check(session.scalar(select(func.count()).select_from(Book)) == 9, "count of books")
        found = session.scalars(select(Book).join(Author).where(Author.name == "author 1").order_by(Book.id)).all()
        check([b.title for b in found] == ["book 1 0", "book 1 1", "book 1 2"], "join: %s" % [b.title for b in found])
        check([b.lent for b in found] == [True, False, False], "booleans: %s" % [b.lent for b in found])
        session.delete(session.scalars(select(Author).where(Author.name == "author 2")).one())
        session.commit()
        check(session.scalar(select(func.count()).select_from(Book)) == 6, "count after deleting an author")
    engine.dispose()


def main():
    host, port = sys.argv[1].split(",")[0].rsplit(":", 1)
    dbapi(host, int(port))
    orm(host, int(port))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


sys.exit(main())
