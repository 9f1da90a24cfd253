-- What Windows is likely to change: line ends, Ctrl-Z, names and text beyond ASCII.
CREATE SCHEMA "año nuevo";
CREATE TABLE clientes (id int PRIMARY KEY, "dirección" text, nota text DEFAULT E'una\r\ndos\ntres\r');
INSERT INTO clientes VALUES
    (1, E'Calle 1\r\nMedellín', E'\r\n\r\n'), (2, E'fin\x1aotra', E'\x1a'), (3, E'\r', E'\n'), (4, 'Ñandú 🦜', E'\t\\x1a\\');
INSERT INTO clientes SELECT n, repeat('dato ' || n, 20), E'línea\r\n' || n FROM generate_series(10, 400) AS n;
CREATE TABLE "año nuevo"."Tabla con espacios" ("columna $1" text);
INSERT INTO "año nuevo"."Tabla con espacios" VALUES (E'C:\\Windows\\'), (NULL), ('');
CREATE FUNCTION windows_lines() RETURNS text LANGUAGE sql AS E'select \'a\r\nb\'::text\r\n';
CREATE FUNCTION unix_lines() RETURNS text LANGUAGE sql AS E'select \'a\nb\'::text\n';
CREATE FUNCTION mixed_lines() RETURNS text LANGUAGE sql AS E'select \'\r\r\n\r\'::text\n\r\n';
COMMENT ON TABLE clientes IS E'de la\r\nrecepción';
CREATE VIEW cuenta AS SELECT count(*) AS n FROM clientes;
CREATE SEQUENCE citas START 41;
SELECT nextval('citas');
SELECT lo_from_bytea(4711, '\x0d0a1a00ff');
