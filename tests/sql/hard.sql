-- A schema that is hard to dump, read, restore and compare: everything in it is legal, and each thing has fooled some tool.
--
-- Load with psql and ON_ERROR_STOP into an empty UTF8 database, as superuser, on PostgreSQL 14 to 18 with the contrib
-- extensions and the test extension in tests/extension (scripts/test.sh installs both; without them the load fails).
-- Newer features are behind \if. Several databases of one server may load it at the same time.
-- What legitimately differs after PostgreSQL's own round trip (pg_dump | psql | pg_dump) is listed at the end.

\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET client_min_messages = error;
SET check_function_bodies = on;
SELECT current_setting('server_version_num')::int >= 150000 AS pg15,
       current_setting('server_version_num')::int >= 160000 AS pg16,
       current_setting('server_version_num')::int >= 170000 AS pg17,
       current_setting('server_version_num')::int >= 180000 AS pg18 \gset

-- Roles: of the whole server; two databases that load this at once must not trip over each other ----------------------------

DO $roles$
DECLARE
    r text;
BEGIN
    LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
    FOREACH r IN ARRAY ARRAY['hard_owner', 'hard_reader', 'Hard "Quoted" Role', 'hard rôle 💶', 'hard;--role', 'hard=r/w',
                             'hard_63_bytes_' || repeat('x', 49)] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I', r);
        END IF;
    END LOOP;
    IF NOT pg_has_role('hard_reader', 'hard_owner', 'MEMBER') THEN
        GRANT hard_owner TO hard_reader;
    END IF;
END
$roles$;

CREATE SCHEMA hard;
ALTER SCHEMA hard OWNER TO hard_owner;
CREATE SCHEMA ext;
CREATE SCHEMA "Sch; Type: TABLE; Schema: ""x""";
CREATE SCHEMA "select";
CREATE SCHEMA "esquema ñ 💶
second line";
COMMENT ON SCHEMA hard IS 'A comment with ''quotes'', a \backslash, $$dollars$$ and lines:
--
-- Name: not_there; Type: TABLE; Schema: public; Owner: postgres
--

COPY public.not_there (a) FROM stdin;
1
\.
';

-- Extensions ---------------------------------------------------------------------------------------------------------------

CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION file_fdw SCHEMA ext;
-- Its tables belong to the extension; some of their rows are dumped (pg_extension_config_dump).
CREATE SCHEMA config;
CREATE EXTENSION pgkeep_config SCHEMA config;
INSERT INTO config.pgkeep_settings VALUES ('language', 'es'), ('odd', E'tab\there\n\\.');
INSERT INTO config.pgkeep_rates (pair, rate) VALUES ('COP/EUR', 0.00023), ('GBP/COP', 5102.75);
UPDATE config.pgkeep_rates SET rate = 4100 WHERE pair = 'USD/COP';
GRANT SELECT ON config.pgkeep_rates TO hard_reader;
COMMENT ON EXTENSION citext IS 'our own words; about citext';

-- Types --------------------------------------------------------------------------------------------------------------------

CREATE TYPE hard.mood AS ENUM ('sad', 'ok', 'it''s "good"', E'two\nlines', 'semi;colon', '--', '💶', '');
ALTER TYPE hard.mood ADD VALUE 'between' BEFORE 'ok';
CREATE TYPE hard.pair AS (a integer, "b; c" text COLLATE "C", d hard.mood[]);
COMMENT ON COLUMN hard.pair."b; c" IS 'a column of a composite type';
CREATE DOMAIN hard.positive AS integer DEFAULT 7 CONSTRAINT "must be > 0; always" CHECK (VALUE > 0);
CREATE DOMAIN hard.code AS text COLLATE "C" NOT NULL CHECK (VALUE ~ '^[A-Z]{2}\d+$') CHECK (VALUE <> E'\n--\n-- Name: x; Type: TABLE');
CREATE DOMAIN hard.codes AS hard.code[];
CREATE DOMAIN hard.pair_domain AS hard.pair CHECK ((VALUE).a IS NOT NULL);
COMMENT ON CONSTRAINT "must be > 0; always" ON DOMAIN hard.positive IS 'a domain''s constraint';
ALTER DOMAIN hard.positive ADD CONSTRAINT late CHECK (VALUE < 1000000) NOT VALID;
CREATE FUNCTION hard.float_gap(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT b - a';
CREATE TYPE hard.floatrange AS RANGE (subtype = float8, subtype_diff = hard.float_gap, multirange_type_name = hard.floatranges);
-- A base type, by way of a shell type; its functions are the server's own.
CREATE TYPE hard.label;
CREATE FUNCTION hard.label_in(cstring) RETURNS hard.label LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION hard.label_out(hard.label) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE hard.label (INPUT = hard.label_in, OUTPUT = hard.label_out, LIKE = text, CATEGORY = 'S', DELIMITER = '|');
CREATE TYPE hard.only_a_shell;

-- Functions whose bodies look like something else ----------------------------------------------------------------------------

CREATE FUNCTION hard.toc_in_body() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    -- what follows looks like pg_dump's own comments, at the start of a line
--
-- Name: fooled; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE IF NOT EXISTS pg_temp.fooled (a integer);
--
-- Data for Name: fooled; Type: TABLE DATA; Schema: public; Owner: postgres
--
    RETURN 'COPY public.fooled (a) FROM stdin;
1
\.

';
END
--
-- PostgreSQL database dump complete
--
$$;

CREATE FUNCTION hard.copy_in_body() RETURNS text LANGUAGE sql AS $body$
SELECT '
COPY public.t (a, b) FROM stdin;
1	2
\.
\restrict abc
\unrestrict abc
\connect template1
\! echo this must never run
' || $x$ ; $y$ ; -- $x$;
$body$;

-- pg_dump quotes with $_$, $_X$, ...: bodies that already hold these tags.
CREATE FUNCTION hard.dollars(a text) RETURNS text LANGUAGE sql AS
'SELECT $1 || $_$one$_$ || $_X$two$_X$ || $$three$$ || $$ $_ $$ || ''four'' || $função$five$função$ || E''six\''s\\''';
CREATE FUNCTION hard.unbalanced() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''$_$ $$ '''' " /* -- $a$ ''; END';

CREATE FUNCTION hard.comments() RETURNS integer LANGUAGE sql AS $f$
/* a comment /* nested /* three deep; */ ' */ " still a comment -- */
SELECT 1 -- it's not a string; "nor an identifier; $$ is split below
    + /* ' */ 1 /* " */;
/* $x$ */
$f$;

CREATE FUNCTION hard.strings() RETURNS text[] LANGUAGE sql AS $f$
SELECT ARRAY['\', 'a\', E'\'', E'\\', 'it''s', E'it\'s; ', U&'\0041', U&'d!0061t!+000061' UESCAPE '!', B'101'::text, X'1F'::text,
             N'n', 'two'
             ' parts', e'\x41\u0042', "array"[1]]
FROM (SELECT ARRAY['x;']) AS "t;"("array");
$f$;

-- SQL-standard bodies: no quotes around them; semicolons inside, and END is not always the end.
CREATE FUNCTION hard.atomic(a integer, b text DEFAULT 'x;--y') RETURNS text LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT 1;
    SELECT CASE WHEN a > 1 THEN CASE b WHEN 'END;' THEN 'begin' ELSE ';' END ELSE 'CASE' END AS "end";
END;
CREATE FUNCTION hard.atomic_empty() RETURNS void LANGUAGE sql BEGIN ATOMIC END;
CREATE FUNCTION hard.expression(a integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN CASE WHEN a < 0 THEN -a ELSE a END;
CREATE FUNCTION hard.outs(IN a integer, OUT b integer, INOUT c text DEFAULT E'new\nline', VARIADIC rest numeric[] DEFAULT '{}')
    LANGUAGE sql AS 'SELECT a, c || rest::text';
CREATE FUNCTION hard.rows_of(n integer) RETURNS TABLE (i integer, "odd name" text)
    LANGUAGE plpgsql STABLE COST 5 ROWS 10 PARALLEL SAFE LEAKPROOF SET search_path = hard, "esquema ñ 💶
second line", pg_temp SET work_mem = '8MB' SET DateStyle = 'ISO, DMY' AS
$$ BEGIN RETURN QUERY SELECT g, 'x' || g FROM generate_series(1, n) g; END $$;
CREATE PROCEDURE hard."do; it"(INOUT n integer, t text DEFAULT NULL) LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN n := n + 1; END $$;
COMMENT ON PROCEDURE hard."do; it" IS 'ends in a backslash \';
COMMENT ON FUNCTION hard.atomic IS E'\\. alone:\n\\.\nand on';
ALTER FUNCTION hard.atomic OWNER TO "hard rôle 💶";
REVOKE ALL ON FUNCTION hard.toc_in_body FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hard.toc_in_body TO "hard;--role" WITH GRANT OPTION;
GRANT USAGE ON TYPE hard.mood TO "hard=r/w";
REVOKE USAGE ON TYPE hard.positive FROM PUBLIC;

CREATE FUNCTION hard.trigger_nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN COALESCE(NEW, OLD); END $$;
CREATE FUNCTION hard.event_nothing() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
-- A language whose handlers are functions of ours: of one that used pg_catalog's, pg_dump keeps only the name.
CREATE FUNCTION hard.pl_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION hard.pl_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION hard.pl_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE "plhard;" HANDLER hard.pl_call INLINE hard.pl_inline VALIDATOR hard.pl_check;
CREATE FUNCTION hard.in_own_language() RETURNS integer LANGUAGE "plhard;" AS 'BEGIN RETURN 1; END';
REVOKE USAGE ON LANGUAGE "plhard;" FROM PUBLIC;
GRANT USAGE ON LANGUAGE "plhard;" TO hard_reader;

-- Operators, casts, aggregates ---------------------------------------------------------------------------------------------

CREATE FUNCTION hard.cmp_length(a text, b text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT length(a) - length(b)';
CREATE FUNCTION hard.lt_length(a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT length(a) < length(b)';
CREATE FUNCTION hard.eq_length(a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT length(a) = length(b)';
CREATE FUNCTION hard.gt_length(a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT length(a) > length(b)';
CREATE OPERATOR hard.<# (LEFTARG = text, RIGHTARG = text, FUNCTION = hard.lt_length, COMMUTATOR = OPERATOR(hard.>#), RESTRICT = scalarltsel);
CREATE OPERATOR hard.># (LEFTARG = text, RIGHTARG = text, FUNCTION = hard.gt_length, COMMUTATOR = OPERATOR(hard.<#));
CREATE OPERATOR hard.=# (LEFTARG = text, RIGHTARG = text, FUNCTION = hard.eq_length, COMMUTATOR = OPERATOR(hard.=#), MERGES);
CREATE OPERATOR hard.@#@ (RIGHTARG = integer, FUNCTION = hard.expression);
COMMENT ON OPERATOR hard.@#@ (NONE, integer) IS 'prefix; absolute';
CREATE OPERATOR FAMILY hard.length_family USING btree;
CREATE OPERATOR CLASS hard.length_ops FOR TYPE text USING btree FAMILY hard.length_family AS
    OPERATOR 1 hard.<#, OPERATOR 3 hard.=#, OPERATOR 5 hard.>#, FUNCTION 1 hard.cmp_length(text, text);
CREATE FUNCTION hard.mood_to_int(hard.mood) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
    RETURN array_position(enum_range(NULL::hard.mood), $1);
CREATE CAST (hard.mood AS integer) WITH FUNCTION hard.mood_to_int(hard.mood) AS ASSIGNMENT;
CREATE CAST (hard.label AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (hard.pair AS text) WITH INOUT;
COMMENT ON CAST (hard.mood AS integer) IS 'a cast''s comment';
CREATE AGGREGATE hard.longest(text) (SFUNC = textcat, STYPE = text, INITCOND = ''';''');
CREATE AGGREGATE hard."mid; point"(ORDER BY anyelement)
    (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = mode_final, FINALFUNC_EXTRA);
CREATE CONVERSION hard."conv;ersion" FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

-- Text search, collations --------------------------------------------------------------------------------------------------

CREATE TEXT SEARCH TEMPLATE hard.tst (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH PARSER hard.tsp (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH DICTIONARY hard."dict; one" (TEMPLATE = hard.tst, Accept = false, stopwords = 'spanish');
CREATE TEXT SEARCH CONFIGURATION hard.spanish (COPY = pg_catalog.spanish);
ALTER TEXT SEARCH CONFIGURATION hard.spanish ALTER MAPPING FOR asciiword, word WITH hard."dict; one", spanish_stem;
COMMENT ON TEXT SEARCH CONFIGURATION hard.spanish IS 'search; in Spanish';
CREATE COLLATION hard."C; copy" (LC_COLLATE = 'C', LC_CTYPE = 'C');
-- Only where the server was built with ICU; whether it was can only be found out by trying. (Debian's are; PyPI's are not.)
DO $$
BEGIN
    CREATE COLLATION hard.ignore_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'ignore_case') AS icu \gset
\if :icu
CREATE TABLE hard.with_icu (a text COLLATE hard.ignore_case PRIMARY KEY);
INSERT INTO hard.with_icu VALUES ('Ñandú'), ('b');
\endif

-- Names --------------------------------------------------------------------------------------------------------------------

CREATE TABLE hard."x; Type: TABLE; Schema: public; Owner: me" (a integer PRIMARY KEY);
INSERT INTO hard."x; Type: TABLE; Schema: public; Owner: me" VALUES (1), (2);
CREATE TABLE hard."Data for Name: y; Type: TABLE DATA; Schema: -; Owner: -" ("x) FROM stdin;" integer, "\." text, "a,b" text);
INSERT INTO hard."Data for Name: y; Type: TABLE DATA; Schema: -; Owner: -" VALUES (1, '\.', E'\\.\n\\.');
CREATE TABLE "Sch; Type: TABLE; Schema: ""x"""."tab""le; --" ("a""b" integer, "c; d" text, "--" text, "/*" text, "'" text, "$$" text);
INSERT INTO "Sch; Type: TABLE; Schema: ""x"""."tab""le; --" VALUES (1, ';', '--', '/*', '''', '$$');
CREATE TABLE "esquema ñ 💶
second line"."first
--
-- Name: third; Type: TABLE; Schema: public; Owner: postgres
--
" ("col
umn" text, "tab	here" text, "cr
lf" text);
INSERT INTO "esquema ñ 💶
second line"."first
--
-- Name: third; Type: TABLE; Schema: public; Owner: postgres
--
" VALUES (E'a\nb', E'\t', E'\r\n');
CREATE TABLE "select"."table" ("order" integer PRIMARY KEY, "from" text, "user" text, "COPY" text, "stdin" text);
INSERT INTO "select"."table" VALUES (1, 'from', 'user', 'COPY x FROM stdin;', NULL);
CREATE TABLE hard."UPPER lower" ("Id" integer, "id" integer, "ID" integer, "%s %d %n" text, "=" text, "a\b" text, "-Fc" text, "../../x" text);
INSERT INTO hard."UPPER lower" VALUES (1, 2, 3, '%s', '=', '\b', '-Fc', '../../x');
CREATE TABLE hard."ñandú_💶_with_a_name_of_exactly_sixty_three_bytes_in_utf_8_xxx" (a integer);
INSERT INTO hard."ñandú_💶_with_a_name_of_exactly_sixty_three_bytes_in_utf_8_xxx" VALUES (63);
CREATE TABLE hard."*" (a integer);
CREATE TABLE hard."hard.dotted" (a integer);
CREATE TABLE hard." leading and trailing " (" " integer);
INSERT INTO hard." leading and trailing " VALUES (1);
CREATE TABLE hard."$1" (a integer);
CREATE TABLE hard."\restrict x" ("\N" integer, "\unrestrict x" text);
INSERT INTO hard."\restrict x" VALUES (NULL, '\N');

-- Tables without columns, without rows, with many kinds of column ------------------------------------------------------------

CREATE TABLE hard.no_columns ();
INSERT INTO hard.no_columns DEFAULT VALUES;
INSERT INTO hard.no_columns DEFAULT VALUES;
INSERT INTO hard.no_columns DEFAULT VALUES;
CREATE TABLE hard.no_rows (a integer, b text);
CREATE TABLE hard.dropped_column (a integer, gone text, b text);
INSERT INTO hard.dropped_column VALUES (1, 'x', 'y');
ALTER TABLE hard.dropped_column DROP COLUMN gone, ADD COLUMN c integer DEFAULT 5;
CREATE TABLE hard.all_dropped (a integer);
INSERT INTO hard.all_dropped VALUES (1), (2);
ALTER TABLE hard.all_dropped DROP COLUMN a;
CREATE UNLOGGED TABLE hard.unlogged (a integer);
INSERT INTO hard.unlogged VALUES (1), (2);
CREATE TABLE hard.typed OF hard.pair (a WITH OPTIONS PRIMARY KEY);
INSERT INTO hard.typed VALUES (1, 'b', '{ok,"it''s \"good\""}');
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE hard.other_access_method (a integer) USING heap2;
INSERT INTO hard.other_access_method VALUES (1);

CREATE TABLE hard.texts (id integer PRIMARY KEY, t text, note text DEFAULT E'default with\n--\n-- Name: no; Type: TABLE; Schema: no; Owner: no\n--\n');
INSERT INTO hard.texts (id, t, note) VALUES
    (1, NULL, 'null'), (2, '', 'empty'), (3, '\N', 'literal backslash N'), (4, 'NULL', 'the word'), (5, '\.', 'end of copy'),
    (6, E'\\.\n', 'with newline'), (7, E'a\n\\.\nb', 'alone on its line'), (8, E'\t', 'tab'), (9, E'\t\t\n\r\n\r', 'white'),
    (10, E'\\', 'backslash'), (11, E'\\\\t\\n', 'escapes in words'), (12, E'\b\f\v\x01\x02\x7f', 'control characters'),
    (13, E'--\n-- Name: x; Type: TABLE; Schema: public; Owner: postgres\n--\n', 'a header'),
    (14, E'COPY public.t (a) FROM stdin;\n1\n\\.\n', 'a copy block'), (15, '💶 ñ é ü 漢字 ‮ rtl ​ zero width', 'unicode'),
    (16, E'e\u0301 and \u00e9', 'two ways to write é'), (17, repeat('a', 1000000), 'one million'),
    (18, repeat(E'línea\t\\\n', 100000), 'a million and more, escaped'), (19, ' leading and trailing ', 'spaces'),
    (20, E'\\N', 'again'), (21, ';', ';'), (22, '''', ''''), (23, '"', '"'), (24, '$$', '$_$'), (25, E'\\restrict x', '\! echo no'),
    (26, E'-- PostgreSQL database dump complete\n', 'the end?');
INSERT INTO hard.texts (id, t) VALUES (27, 'the default note');

CREATE TABLE hard.numbers (id integer PRIMARY KEY, n numeric, f8 float8, f4 float4, i8 bigint, i2 smallint, m money, b boolean, scaled numeric(20, 5));
INSERT INTO hard.numbers VALUES
    (1, 'NaN', 'NaN', 'NaN', NULL, NULL, NULL, NULL, 'NaN'), (2, 'Infinity', 'Infinity', 'Infinity', 9223372036854775807, 32767, '$92,233,720,368,547,758.07', true, NULL),
    (3, '-Infinity', '-Infinity', '-Infinity', -9223372036854775808, -32768, '-$92,233,720,368,547,758.08', false, -0.00001),
    (4, 0.1 + 0.2, 0.1::float8 + 0.2::float8, 0.1, 0, 0, 0, true, 1), (5, 1.50, -0.0::float8, 1e-45, 1, 1, 1, false, 1.50000),
    (6, 1.5, 5e-324, 3.4028235e38, 1, 1, 1, false, 1.5), (7, 10::numeric ^ 1000 + 1, 1.7976931348623157e308, 1, 1, 1, 1, false, 3),
    (8, 1e-1000, 123456789012345680, 16777216, 1, 1, 1, false, 123456789012345.67891);

CREATE TABLE hard.times (id integer PRIMARY KEY, ts timestamp, tz timestamptz, d date, t time, ttz timetz, i interval);
INSERT INTO hard.times VALUES
    (1, 'infinity', 'infinity', 'infinity', '00:00', '00:00+14', '0'), (2, '-infinity', '-infinity', '-infinity', '24:00', '24:00-12', '-1 year 2 mons -3 days 04:05:06.789'),
    (3, '4713-01-01 00:00:00 BC', '0044-03-15 12:00:00+00 BC', '4713-01-01 BC', '23:59:59.999999', '12:00:00.5-05', '178000000 years'),
    (4, '294276-12-31 23:59:59.999999', '1890-01-01 00:00:00-04:56:16', '5874897-12-31', NULL, NULL, '1 mon -1 day'),
    (5, '2024-02-29 02:30:00.000001', '2024-03-10 02:30:00-05', '2024-02-29', '02:30', '02:30-05', '30 days'), (6, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE hard.kinds (
    id integer PRIMARY KEY, by bytea, ta text[], ia integer[], j json, jb jsonb, p hard.pair, pa hard.pair[], mood hard.mood, moods hard.mood[],
    pos hard.positive, fr hard.floatrange, frs hard.floatranges, ip inet, net cidr, mac macaddr8, bits bit(5), vbits bit varying, ch char(5), one "char",
    nm name, u uuid, tv tsvector, tq tsquery, pt point, bx box, pl polygon, ci ext.citext, h ext.hstore, tree ext.ltree, cls regclass, typ regtype, lab hard.label,
    labs hard.label[], lsn pg_lsn, path2 jsonpath, cds hard.codes, x8 xid8, dr daterange, nmr nummultirange);
INSERT INTO hard.kinds VALUES
    (1, (SELECT decode(string_agg(lpad(to_hex(n), 2, '0'), '' ORDER BY n), 'hex') FROM generate_series(0, 255) n), ARRAY['a"b', 'c\d', 'NULL', NULL, '', ' ', '{', ',', E'\n', E'\t', '''', '\.'], '[-1:1]={1,NULL,3}',
     '{"a" : 1,  "a":2, "\u0000esc": "\u00f1"}', '{"b": [1, null, 1.50, "\"", "\\.", "\n"], "ñ": {}}',
     ROW(1, E'b,"(\\\n', ARRAY['ok', 'two
lines', '']::hard.mood[]), ARRAY[ROW(1, NULL, NULL), NULL, ROW(NULL, '', '{}')]::hard.pair[], 'it''s "good"', '{sad,"",--,"semi;colon"}',
     5, '[1.5,2.25)', '{[1,2),(3,4]}', '192.0.2.1/24', '2001:db8::/32', '08:00:2b:01:02:03:04:05', B'10101', B'', 'ab', 'x',
     'a name', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '''it''''s'':1A ''\\\\'':2', '''a'' & !''b c'' <-> ''d'':*', '(1.5,-0)', '(2,2),(0,0)',
     '((0,0),(1,1),(1,0))', 'MiXeD', '"a=>b"=>"c\"d", e=>NULL, ""=>""', 'Top.Science.Física', 'hard."x; Type: TABLE; Schema: public; Owner: me"', 'hard.pair',
     'a|b', '{a|"b|c"|""}', '16/B374D848', '$."a;b"[*] ? (@ > 1)', '{AB1,CD22}', '18446744073709551615', '[2024-01-01,infinity)', '{(,1.5],[2,2],(9,)}');
INSERT INTO hard.kinds (id, by, ta, ia, j, h) VALUES (2, '', '{}', '{{1,2},{3,4}}', 'null', ''), (3, NULL, NULL, NULL, NULL, NULL);

-- Generated and identity columns, sequences --------------------------------------------------------------------------------

CREATE TABLE hard.generated (
    a integer, b integer GENERATED ALWAYS AS (a * 2) STORED, c text DEFAULT 'x',
    d text GENERATED ALWAYS AS (c || E';\n--' || hard.atomic(a)) STORED);
INSERT INTO hard.generated (a, c) VALUES (1, 'one'), (2, NULL), (NULL, 'three');
CREATE TABLE hard.only_generated (a integer GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO hard.only_generated DEFAULT VALUES;
CREATE TABLE hard.identities (
    always bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY -5 MINVALUE -1000 MAXVALUE 100 CYCLE) PRIMARY KEY,
    v text);
CREATE TABLE hard.identity_default (id smallint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME hard."its; own seq" CACHE 3), v text);
INSERT INTO hard.identities (v) VALUES ('a'), ('b'), ('c');
INSERT INTO hard.identity_default (v) VALUES ('a');
CREATE TABLE hard.serials (id serial, big bigserial, v text);
INSERT INTO hard.serials (v) SELECT 'row ' || n FROM generate_series(1, 10) n;
CREATE SEQUENCE hard.never_called START 42;
CREATE SEQUENCE hard.set_not_called;
SELECT setval('hard.set_not_called', 77, false) \g /dev/null
CREATE SEQUENCE hard.descending AS integer INCREMENT -3 MINVALUE -100 MAXVALUE 10 START 10 CACHE 5 CYCLE;
SELECT nextval('hard.descending') \g /dev/null
CREATE SEQUENCE hard.exhausted AS smallint MINVALUE 1 MAXVALUE 3;
SELECT setval('hard.exhausted', 3) \g /dev/null
CREATE SEQUENCE hard."seq; owned" OWNED BY hard.no_rows.a;
GRANT USAGE ON SEQUENCE hard.never_called TO "hard rôle 💶";

-- Inheritance: columns that come back in another order ---------------------------------------------------------------------

CREATE TABLE hard.parent (a integer NOT NULL, b text, c numeric DEFAULT 1.5, CONSTRAINT not_for_children CHECK (a > 0) NO INHERIT, CHECK (b <> ''));
CREATE TABLE hard.other_parent (x integer, c numeric DEFAULT 1.5);
CREATE TABLE hard.child (d date) INHERITS (hard.parent);
-- Its own columns first, in another order; only then made a child: pg_dump writes the parent's columns first.
CREATE TABLE hard.late_child (own text, c numeric DEFAULT 9, b text, a integer NOT NULL, CONSTRAINT parent_b_check CHECK (b <> ''));
ALTER TABLE hard.late_child INHERIT hard.parent;
CREATE TABLE hard.two_parents (own integer) INHERITS (hard.parent, hard.other_parent);
CREATE TABLE hard.grandchild (c numeric DEFAULT 3 NOT NULL, e text) INHERITS (hard.child);
ALTER TABLE hard.child ALTER COLUMN b SET DEFAULT 'the child''s own';
INSERT INTO hard.parent VALUES (1, 'p');
INSERT INTO hard.child VALUES (2, 'c', 2, '2024-01-01');
INSERT INTO hard.late_child (own, c, b, a) VALUES ('own', 3, 'l', 3), ('same', 4, 'same', 4);
INSERT INTO hard.two_parents (a, b, c, x, own) VALUES (5, 't', 5, 50, 500);
INSERT INTO hard.grandchild (a, b, c, d, e) VALUES (6, 'g', 6, NULL, 'e');

-- Partitions ---------------------------------------------------------------------------------------------------------------

CREATE TABLE hard.events (id bigint NOT NULL, region text NOT NULL, at date NOT NULL, v text DEFAULT 'p', PRIMARY KEY (id, region, at))
    PARTITION BY LIST (region);
CREATE TABLE hard.events_eu PARTITION OF hard.events FOR VALUES IN ('eu', 'it''s; eu') PARTITION BY RANGE (at);
CREATE TABLE hard.events_eu_old PARTITION OF hard.events_eu (v DEFAULT 'old') FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE hard."events eu; new" PARTITION OF hard.events_eu FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
-- Made apart with other column order and a dropped column, then attached.
CREATE TABLE hard.events_us (gone integer, at date NOT NULL, v text, region text NOT NULL, id bigint NOT NULL);
ALTER TABLE hard.events_us DROP COLUMN gone;
ALTER TABLE hard.events ATTACH PARTITION hard.events_us FOR VALUES IN ('us', NULL);
CREATE TABLE hard.events_rest PARTITION OF hard.events DEFAULT PARTITION BY HASH (id);
CREATE TABLE hard.events_rest_0 PARTITION OF hard.events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE UNLOGGED TABLE hard.events_rest_1 PARTITION OF hard.events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hard.events SELECT n, (ARRAY['eu', 'us', 'it''s; eu', 'co', 'br'])[1 + n % 5], DATE '2023-06-01' + n, 'v' || n FROM generate_series(1, 500) n;
CREATE INDEX events_v_idx ON ONLY hard.events (lower(v));
CREATE INDEX events_us_v_idx ON hard.events_us (lower(v)) WITH (fillfactor = 70);
ALTER INDEX hard.events_v_idx ATTACH PARTITION hard.events_us_v_idx;
CREATE TABLE hard.by_expression (a integer, b text) PARTITION BY RANGE ((a % 10), lower(b) COLLATE "C");
CREATE TABLE hard.by_expression_1 PARTITION OF hard.by_expression FOR VALUES FROM (0, MINVALUE) TO (5, 'm;');
INSERT INTO hard.by_expression VALUES (1, 'a'), (5, 'L');
CREATE TABLE hard.no_partitions (a integer) PARTITION BY HASH (a);
CREATE TABLE hard.by_enum (m hard.mood, a integer) PARTITION BY HASH (m);
CREATE TABLE hard.by_enum_0 PARTITION OF hard.by_enum FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO hard.by_enum VALUES ('sad', 1), ('--', 2), (NULL, 3);

-- Constraints and indexes --------------------------------------------------------------------------------------------------

CREATE TABLE hard.reservations (
    id integer PRIMARY KEY, room integer NOT NULL, during tstzrange NOT NULL, cancelled boolean DEFAULT false,
    CONSTRAINT "no overlap; ever" EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (NOT cancelled) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT check_text CHECK (room::text <> E'\n--\n-- Name: c; Type: CHECK CONSTRAINT; Schema: x; Owner: y\n--\n;'));
INSERT INTO hard.reservations VALUES (1, 1, '[2024-01-01 10:00+00,2024-01-01 11:00+00)'), (2, 1, '[2024-01-01 11:00+00,2024-01-01 12:00+00)');
COMMENT ON CONSTRAINT "no overlap; ever" ON hard.reservations IS 'an exclusion constraint''s comment';
-- Two tables that refer to each other, and one that refers to itself: no order of loading satisfies them.
CREATE TABLE hard.hen (id integer PRIMARY KEY, egg integer NOT NULL);
CREATE TABLE hard.egg (id integer PRIMARY KEY, hen integer NOT NULL REFERENCES hard.hen);
ALTER TABLE hard.hen ADD CONSTRAINT hen_egg_fk FOREIGN KEY (egg) REFERENCES hard.egg ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO hard.hen VALUES (1, 1);
INSERT INTO hard.egg VALUES (1, 1);
COMMIT;
CREATE TABLE hard.tree (id integer PRIMARY KEY, parent integer REFERENCES hard.tree);
INSERT INTO hard.tree VALUES (2, NULL), (1, 2), (3, 1);
CREATE TABLE hard.refers_to_partitioned (id bigint, region text, at date, FOREIGN KEY (id, region, at) REFERENCES hard.events MATCH FULL);
CREATE TABLE hard.not_valid (a integer REFERENCES hard.tree);
INSERT INTO hard.not_valid VALUES (NULL), (3);
ALTER TABLE hard.not_valid ADD COLUMN b integer DEFAULT -1;
ALTER TABLE hard.not_valid ADD CONSTRAINT later CHECK (b > 0) NOT VALID;

CREATE TABLE hard.indexed (a integer, b text, c jsonb, d tsvector, e integer[], f text UNIQUE DEFERRABLE);
CREATE UNIQUE INDEX "idx; Type: INDEX" ON hard.indexed (a DESC NULLS LAST, lower(b) text_pattern_ops) INCLUDE (f) WHERE b <> ';--' AND a > 0;
CREATE INDEX ON hard.indexed USING gin (c jsonb_path_ops, d) WITH (fastupdate = off);
CREATE INDEX ON hard.indexed USING gin (b ext.gin_trgm_ops);
CREATE INDEX ON hard.indexed USING brin (a) WITH (pages_per_range = 4);
CREATE INDEX ON hard.indexed USING hash (b);
CREATE INDEX by_length ON hard.indexed USING btree (b hard.length_ops);
CREATE INDEX indexed_expression ON hard.indexed ((a + 1), (CASE WHEN a > 1 THEN 'x;' ELSE b END));
ALTER INDEX hard.indexed_expression ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE hard.indexed ADD CONSTRAINT from_index UNIQUE (a, b, f);
ALTER TABLE hard.indexed CLUSTER ON from_index;
ALTER TABLE hard.indexed ALTER COLUMN b SET STORAGE EXTERNAL, ALTER COLUMN b SET COMPRESSION pglz, ALTER COLUMN a SET STATISTICS 1000,
    ALTER COLUMN a SET (n_distinct = -0.5), SET (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE hard.indexed REPLICA IDENTITY FULL;
INSERT INTO hard.indexed SELECT n, 'b' || n, jsonb_build_object('n', n), to_tsvector('simple', 'word' || n), ARRAY[n], 'f' || n FROM generate_series(1, 200) n;
COMMENT ON INDEX hard."idx; Type: INDEX" IS E'an index\'s comment\n\\.\n';
CREATE STATISTICS hard."stat; istics" (ndistinct, dependencies, mcv) ON a, b FROM hard.indexed;
CREATE STATISTICS hard.expression_stats ON (a % 10), lower(b) FROM hard.indexed;
ALTER STATISTICS hard."stat; istics" SET STATISTICS 50;
COMMENT ON STATISTICS hard."stat; istics" IS 'statistics; too';

-- Views, rules, triggers ---------------------------------------------------------------------------------------------------

CREATE VIEW hard."view; odd" AS SELECT t AS "a;b", E'\n--\n-- Name: v; Type: VIEW; Schema: s; Owner: o\n--\n;' AS "c""d" FROM hard.texts;
CREATE VIEW hard.checked WITH (security_barrier = true) AS SELECT id, n FROM hard.numbers WHERE id < 100 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW hard.path_of (id, path) AS
    SELECT id, ARRAY[id] FROM hard.tree WHERE parent IS NULL
    UNION ALL SELECT t.id, p.path || t.id FROM hard.tree t JOIN path_of p ON p.id = t.parent;
-- Groups by a primary key, so it depends on that constraint, which comes after the data: pg_dump writes it in two halves.
CREATE VIEW hard.needs_the_key AS SELECT h.id, h.egg, count(*) FROM hard.hen h JOIN hard.egg e ON e.hen = h.id GROUP BY h.id;
CREATE VIEW hard.on_top AS SELECT * FROM hard.needs_the_key n LEFT JOIN LATERAL (SELECT n.id + 1 AS next) l ON true;
CREATE VIEW hard.no_columns_view AS SELECT;
ALTER VIEW hard.checked ALTER COLUMN n SET DEFAULT 3.14;
COMMENT ON COLUMN hard.checked.n IS 'a view''s column';
CREATE MATERIALIZED VIEW hard.mat AS SELECT region, count(*) AS n FROM hard.events GROUP BY region WITH DATA;
CREATE UNIQUE INDEX mat_key ON hard.mat (region);
CREATE MATERIALIZED VIEW hard.mat_on_mat AS SELECT sum(n) AS total FROM hard.mat;
CREATE MATERIALIZED VIEW hard.mat_empty AS SELECT * FROM hard.mat WITH NO DATA;
CREATE MATERIALIZED VIEW hard.mat_on_view AS SELECT * FROM hard.on_top;

CREATE TABLE hard.ruled (a integer, b text);
CREATE TABLE hard.rule_log (what text);
CREATE RULE "two; commands" AS ON INSERT TO hard.ruled WHERE NEW.a > 100 DO ALSO
    (INSERT INTO hard.rule_log VALUES ('big;' || NEW.a); UPDATE hard.rule_log SET what = what || ';' WHERE what = '--');
CREATE RULE nothing AS ON DELETE TO hard.ruled DO INSTEAD NOTHING;
CREATE RULE notify_it AS ON UPDATE TO hard.ruled DO ALSO NOTIFY "odd; channel";
CREATE RULE into_view AS ON INSERT TO hard.on_top DO INSTEAD INSERT INTO hard.rule_log VALUES ('on top');
ALTER TABLE hard.ruled DISABLE RULE nothing;
COMMENT ON RULE "two; commands" ON hard.ruled IS 'a rule''s comment';
-- The rule must not run again when the rows are restored.
INSERT INTO hard.ruled VALUES (1, 'x'), (101, 'y');

CREATE TABLE hard.triggered (id integer PRIMARY KEY, v text);
CREATE TRIGGER "a; trigger" BEFORE INSERT OR UPDATE OF v ON hard.triggered FOR EACH ROW WHEN (NEW.v <> ';''--' AND NEW.id > 0) EXECUTE FUNCTION hard.trigger_nothing('arg; 1', 'it''s \', '');
CREATE TRIGGER with_tables AFTER UPDATE ON hard.triggered REFERENCING OLD TABLE AS "old;" NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION hard.trigger_nothing();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR DELETE ON hard.triggered FROM hard.tree DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hard.trigger_nothing();
CREATE TRIGGER disabled BEFORE DELETE ON hard.triggered FOR EACH ROW EXECUTE FUNCTION hard.trigger_nothing();
CREATE TRIGGER always BEFORE TRUNCATE ON hard.triggered EXECUTE FUNCTION hard.trigger_nothing();
CREATE TRIGGER on_replica AFTER INSERT ON hard.triggered FOR EACH ROW EXECUTE FUNCTION hard.trigger_nothing();
CREATE TRIGGER on_view INSTEAD OF UPDATE ON hard.needs_the_key FOR EACH ROW EXECUTE FUNCTION hard.trigger_nothing();
CREATE TRIGGER on_all AFTER INSERT ON hard.events FOR EACH ROW EXECUTE FUNCTION hard.trigger_nothing();
ALTER TABLE hard.triggered DISABLE TRIGGER disabled, ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER on_replica;
ALTER TABLE hard.events_us DISABLE TRIGGER on_all;
COMMENT ON TRIGGER "a; trigger" ON hard.triggered IS 'a trigger''s comment';
INSERT INTO hard.triggered VALUES (1, 'one');
CREATE EVENT TRIGGER hard_event ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION hard.event_nothing();
CREATE EVENT TRIGGER "hard; disabled" ON sql_drop EXECUTE FUNCTION hard.event_nothing();
ALTER EVENT TRIGGER "hard; disabled" DISABLE;
COMMENT ON EVENT TRIGGER hard_event IS 'an event trigger''s comment';

-- Who may do what ----------------------------------------------------------------------------------------------------------

CREATE TABLE hard.secrets (owner name, v text);
ALTER TABLE hard.secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY "own; rows" ON hard.secrets FOR SELECT TO hard_reader, "Hard ""Quoted"" Role" USING (owner = current_user AND v <> ';''--');
CREATE POLICY strict ON hard.secrets AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (v IS NOT NULL);
CREATE POLICY everyone ON hard.secrets USING (EXISTS (SELECT FROM hard.tree t WHERE t.id::text = v));
COMMENT ON POLICY strict ON hard.secrets IS 'a policy''s comment';
INSERT INTO hard.secrets VALUES ('hard_reader', 'a'), ('nobody', 'b');
ALTER TABLE hard.secrets OWNER TO "hard=r/w";
GRANT USAGE ON SCHEMA hard TO hard_reader, "hard rôle 💶";
GRANT CREATE ON SCHEMA hard TO "hard=r/w" WITH GRANT OPTION;
GRANT SELECT, INSERT ON hard.texts TO "Hard ""Quoted"" Role", "hard;--role";
GRANT SELECT (id), UPDATE (t, note) ON hard.texts TO hard_reader WITH GRANT OPTION;
SET ROLE hard_reader;
GRANT SELECT (id) ON hard.texts TO "hard rôle 💶";
RESET ROLE;
GRANT ALL ON hard.triggered TO PUBLIC;
ALTER TABLE hard.ruled OWNER TO hard_owner;
REVOKE ALL ON hard.ruled FROM hard_owner;
DO $$ BEGIN EXECUTE format('GRANT SELECT ON hard.numbers TO %I', 'hard_63_bytes_' || repeat('x', 49)); END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE hard_owner IN SCHEMA hard GRANT SELECT ON TABLES TO hard_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE hard_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "hard rôle 💶" GRANT USAGE ON SCHEMAS TO "hard;--role" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA hard GRANT USAGE ON TYPES TO "hard=r/w";

-- Foreign data -------------------------------------------------------------------------------------------------------------

CREATE FOREIGN DATA WRAPPER "wrapper; without handler" OPTIONS (debug 'true', "odd; option" 'it''s \');
CREATE SERVER remote TYPE 'a;b' VERSION '1''2' FOREIGN DATA WRAPPER "wrapper; without handler" OPTIONS (host 'db.example.invalid', dbname 'x=y z');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE USER MAPPING FOR hard_reader SERVER remote OPTIONS (user 'r', password 'a user mapping''s secret; \');
CREATE USER MAPPING FOR PUBLIC SERVER remote;
CREATE FOREIGN TABLE hard.far_away (a integer OPTIONS (column_name 'x;"y'), b text NOT NULL DEFAULT 'z', CHECK (a > 0)) SERVER remote OPTIONS (schema_name 's', table_name 't;');
CREATE FOREIGN TABLE hard.a_file (line text) SERVER files OPTIONS (filename '/nonexistent; \file', format 'csv', delimiter E'\t');
GRANT USAGE ON FOREIGN SERVER remote TO hard_reader;
COMMENT ON FOREIGN TABLE hard.far_away IS 'nothing of its data is in the dump';

-- Large objects ------------------------------------------------------------------------------------------------------------

SELECT lo_from_bytea(424201, '') \g /dev/null
SELECT lo_from_bytea(424202, decode(repeat('00ff5c2e0a27', 10), 'hex')) \g /dev/null
SELECT lo_from_bytea(424203, decode(repeat(md5('three megabytes'), 196608), 'hex')) \g /dev/null
SELECT lo_create(424204), lo_put(424204, 5000, 'after a hole') \g /dev/null
ALTER LARGE OBJECT 424202 OWNER TO hard_owner;
GRANT SELECT ON LARGE OBJECT 424203 TO hard_reader, "hard;--role";
REVOKE ALL ON LARGE OBJECT 424201 FROM CURRENT_USER;
COMMENT ON LARGE OBJECT 424202 IS 'a large object''s comment;
--
-- Name: 424299; Type: BLOB; Schema: -; Owner: postgres
--
';
CREATE TABLE hard.refers_to_blobs (id integer, content oid);
INSERT INTO hard.refers_to_blobs VALUES (1, 424201), (2, 424202), (3, 424203);

-- Publications -------------------------------------------------------------------------------------------------------------

CREATE PUBLICATION hard_all FOR ALL TABLES WITH (publish = 'insert, delete');
CREATE PUBLICATION "hard; some" FOR TABLE hard.triggered, ONLY hard.tree WITH (publish_via_partition_root = true);
CREATE PUBLICATION hard_none;
COMMENT ON PUBLICATION hard_none IS 'empty; so far';

-- Newer features -----------------------------------------------------------------------------------------------------------

\if :pg15
CREATE PUBLICATION hard_filtered FOR TABLE hard.triggered (id, v) WHERE (id > 10 AND v <> ';'), hard.tree WHERE (id IS NULL);
CREATE PUBLICATION hard_schemas FOR TABLES IN SCHEMA "select", hard;
CREATE VIEW hard.invoker WITH (security_invoker = true, check_option = cascaded) AS SELECT id FROM hard.numbers WHERE id > 1;
CREATE TABLE hard.nulls_equal (a integer, b integer, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO hard.nulls_equal VALUES (1, NULL);
CREATE TABLE hard.set_null_list (a integer, b integer, FOREIGN KEY (b) REFERENCES hard.tree ON DELETE SET NULL (b));
CREATE UNLOGGED SEQUENCE hard.unlogged_seq;
CREATE FUNCTION hard.merges(n integer) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    MERGE INTO hard.triggered t USING (SELECT n AS n) s ON t.id = s.n
        WHEN MATCHED AND t.v = 'END;' THEN DELETE
        WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.n, CASE WHEN s.n > 1 THEN ';' END);
END;
\endif
\if :pg16
CREATE TABLE hard.json_checked (a text CHECK (a IS JSON OBJECT WITH UNIQUE KEYS), b text STORAGE EXTERNAL);
INSERT INTO hard.json_checked VALUES ('{"a": ";"}', 'b');
CREATE VIEW hard.json_made AS SELECT JSON_ARRAYAGG(id ORDER BY id RETURNING text) AS ids, JSON_OBJECT('k;' : max(id)) AS o FROM hard.tree;
\endif
\if :pg17
CREATE VIEW hard.json_rows AS
    SELECT * FROM JSON_TABLE('[{"a": 1, "b": [";"]}]', '$[*]' COLUMNS (n FOR ORDINALITY, a integer PATH '$.a' DEFAULT 0 ON EMPTY, NESTED PATH '$.b[*]' COLUMNS (b text PATH '$')));
CREATE TABLE hard.identity_by_part (id integer GENERATED ALWAYS AS IDENTITY, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE hard.identity_by_part_1 PARTITION OF hard.identity_by_part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO hard.identity_by_part (at) VALUES ('2024-05-05');
GRANT MAINTAIN ON hard.texts TO hard_reader;
\endif
\if :pg18
CREATE TABLE hard.virtual (a integer, twice integer GENERATED ALWAYS AS (a * 2) VIRTUAL, b text DEFAULT 'b', "both" text GENERATED ALWAYS AS (b || a::text));
INSERT INTO hard.virtual (a) VALUES (1), (NULL);
CREATE TABLE hard.temporal (id integer, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE hard.temporal_child (id integer, valid daterange, FOREIGN KEY (id, PERIOD valid) REFERENCES hard.temporal (id, PERIOD valid));
INSERT INTO hard.temporal VALUES (1, '[2024-01-01,2024-06-01)'), (1, '[2024-06-01,2025-01-01)');
INSERT INTO hard.temporal_child VALUES (1, '[2024-03-01,2024-09-01)');
CREATE TABLE hard.named_not_null (a integer CONSTRAINT "a; is there" NOT NULL, b integer);
INSERT INTO hard.named_not_null VALUES (1, NULL);
ALTER TABLE hard.named_not_null ADD CONSTRAINT b_later NOT NULL b NOT VALID;
COMMENT ON CONSTRAINT "a; is there" ON hard.named_not_null IS 'a not-null constraint''s comment';
CREATE TABLE hard.not_enforced (a integer CHECK (a > 0) NOT ENFORCED, b integer REFERENCES hard.tree NOT ENFORCED);
INSERT INTO hard.not_enforced VALUES (-1, 999);
\endif

ANALYZE hard.indexed, hard.events, hard.texts;

-- After PostgreSQL's own round trip (pg_dump | psql | pg_dump, same major version) the second dump differs from the first in
-- nothing but this, on PostgreSQL 14, 15, 16, 17 and 18 (tests/sql_scripts.rs checks it):
--
--   * the keys of \restrict and \unrestrict, which are random;
--   * hard.late_child, a table that became a child after it was made: its columns come back in its parent's order
--     (a, b, c, own instead of own, c, b, a) in CREATE TABLE, and so in COPY and in its rows.
