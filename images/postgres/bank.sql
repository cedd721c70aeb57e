SET SESSION AUTHORIZATION bank
CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL)
CREATE TABLE ledger (id bigserial PRIMARY KEY, account integer NOT NULL REFERENCES accounts, amount bigint NOT NULL, ref text NOT NULL UNIQUE, at timestamptz NOT NULL DEFAULT clock_timestamp())
INSERT INTO accounts SELECT n, 1000 FROM generate_series(1, 100) n
