//! Everything that is no table: types, functions, views, triggers, policies, grants, publications, large objects.

use super::columns::Kind;
use super::maker::{Maker, ROLES, Stage};

pub(super) fn functions(maker: &mut Maker) {
    let (_, doubled) = maker.place();
    let (_, fine) = maker.place();
    let (_, raises) = maker.place();
    let body = "'SELECT ($1 % 1000) * 2'";
    maker.say(
        Stage::Types,
        format!(
            "CREATE FUNCTION {doubled}(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS {body}"
        ),
    );
    let odd = "\n--\n-- Name: ghost; Type: TABLE; Schema: public; Owner: postgres\n--\n\nBEGIN\n  -- it's; \\. $1 and :name\n  \
               RETURN length($1) >= 0;\nEND\n";
    maker.say(
        Stage::Types,
        format!("CREATE FUNCTION {fine}(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $odd_ü${odd}$odd_ü$"),
    );
    let error = "BEGIN RAISE EXCEPTION 'a trigger fired while it was loaded'; END";
    maker.say(Stage::Types, format!("CREATE FUNCTION {raises}() RETURNS trigger LANGUAGE plpgsql AS $${error}$$"));
    maker.remark(&format!("FUNCTION {doubled}(bigint)"));
    maker.remark(&format!("FUNCTION {fine}(text)"));
    (maker.doubled, maker.fine, maker.raises) = (doubled, fine, raises);
    if maker.chance.percent(30) {
        let (_, sum) = maker.place();
        maker.say(
            Stage::Types,
            format!("CREATE AGGREGATE {sum}(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = '0')"),
        );
        maker.remark(&format!("AGGREGATE {sum}(bigint)"));
        let (_, procedure) = maker.place();
        maker.say(
            Stage::Types,
            format!(
                "CREATE PROCEDURE {procedure}(a int, INOUT b text DEFAULT 'x') LANGUAGE plpgsql AS 'BEGIN b := a; END'"
            ),
        );
    }
    if maker.chance.percent(20) {
        maker.say(Stage::Types, "CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION btree_gist SCHEMA public");
        maker.types.push(("public.hstore".to_owned(), "public.hstore('a', @::text)".to_owned()));
    }
}

pub(super) fn types(maker: &mut Maker) {
    for kind in 0..5 {
        if maker.chance.percent(50) {
            continue;
        }
        let (_, name) = maker.place();
        let (sql, value) = match kind {
            0 => (
                format!("CREATE TYPE {name} AS ENUM ('one', 'it''s two', 'thrée \\ ; 3')"),
                format!("(enum_range(NULL::{name}))[1 + @ % 3]"),
            ),
            1 => (
                format!("CREATE DOMAIN {name} AS integer DEFAULT 3 CONSTRAINT positive CHECK (VALUE > 0)"),
                "1 + @ % 9".to_owned(),
            ),
            2 => (format!("CREATE DOMAIN {name} AS text CHECK ({}(VALUE))", maker.fine), "'domain ' || @".to_owned()),
            3 => (
                format!("CREATE TYPE {name} AS (a integer, \"B b\" text)"),
                format!("ROW(@, 'x, \"y\" ' || @)::{name}"),
            ),
            _ => (format!("CREATE TYPE {name} AS RANGE (SUBTYPE = float8)"), format!("{name}(@, @ + 0.5)")),
        };
        maker.say(Stage::Types, sql);
        if kind == 1 && maker.chance.percent(50) {
            maker.say(Stage::Rest, format!("ALTER DOMAIN {name} ADD CONSTRAINT later CHECK (VALUE > 4) NOT VALID"));
            maker.remark(&format!("CONSTRAINT later ON DOMAIN {name}"));
        }
        maker.remark(&format!("{} {name}", if kind == 1 || kind == 2 { "DOMAIN" } else { "TYPE" }));
        maker.types.push((name.clone(), value.clone()));
        if kind != 4 {
            maker.types.push((format!("{name}[]"), format!("ARRAY[{value}, NULL]::{name}[]")));
        }
    }
}

/// Views in all their dependencies: plain, grouped by a primary key, circular, stored; functions that need a key.
pub(super) fn views(maker: &mut Maker) {
    let grouped: Vec<(String, String, String)> = maker
        .tables
        .iter()
        .filter_map(|table| {
            let key = table.primary()?;
            let other = table.columns.iter().find(|column| column.name != key.name)?;
            Some((table.name.clone(), key.name.clone(), other.name.clone()))
        })
        .collect();
    for _ in 0..maker.chance.below(5) {
        if grouped.is_empty() {
            break;
        }
        let (table, key, other) = grouped[maker.chance.below(grouped.len())].clone();
        let query = format!("SELECT {key} AS k, {other} AS o, count(*) AS \"how many\" FROM {table} GROUP BY {key}");
        let (schema, name) = maker.place();
        match maker.chance.below(4) {
            0 => {
                maker.say(Stage::Views, format!("CREATE VIEW {name} AS {query}"));
                maker.remark(&format!("VIEW {name}"));
                let (_, on_top) = maker.place();
                maker.say(
                    Stage::Views,
                    format!(
                        "CREATE VIEW {on_top} WITH (security_barrier) AS SELECT k, \"how many\" + 1 AS more FROM {name}"
                    ),
                );
                let (_, stored) = maker.place();
                maker.say(Stage::Views, format!("CREATE MATERIALIZED VIEW {stored} AS SELECT v.k, w.more FROM {name} v JOIN {on_top} w USING (k)"));
            }
            1 => {
                let data = maker.chance.pick(&["WITH DATA", "WITH DATA", "WITH NO DATA"]);
                maker.say(
                    Stage::Views,
                    format!("CREATE MATERIALIZED VIEW {name} WITH (fillfactor = 90) AS {query} {data}"),
                );
                let index = maker.chance.name(&schema);
                maker.say(Stage::Views, format!("CREATE UNIQUE INDEX {index} ON {name} (k)"));
                maker.say(Stage::Views, format!("CREATE INDEX ON {name} (\"how many\" DESC)"));
                maker.remark(&format!("MATERIALIZED VIEW {name}"));
                maker.remark(&format!("COLUMN {name}.k"));
                maker.remark(&format!("INDEX {schema}.{index}"));
                if data == "WITH DATA" {
                    let (_, second) = maker.place();
                    maker.say(
                        Stage::Views,
                        format!("CREATE MATERIALIZED VIEW {second} AS SELECT max(\"how many\") AS most FROM {name}"),
                    );
                }
            }
            2 => {
                // Its body is parsed, so it cannot be there before the key is.
                let body = "BEGIN ATOMIC SELECT count(*) FROM (@) q; SELECT max(q.\"how many\") FROM (@) q; END"
                    .replace('@', &query);
                maker.say(Stage::Views, format!("CREATE FUNCTION {name}() RETURNS bigint LANGUAGE sql STABLE {body}"));
                maker.remark(&format!("FUNCTION {name}()"));
                let (_, user) = maker.place();
                let stored = maker.chance.pick(&["VIEW", "MATERIALIZED VIEW"]);
                maker.say(Stage::Views, format!("CREATE {stored} {user} AS SELECT {name}() AS answer"));
            }
            _ => {
                let (_, other_view) = maker.place();
                maker.say(Stage::Views, format!("CREATE VIEW {name} AS SELECT 1 AS a, 'x'::text AS b"));
                maker.say(Stage::Views, format!("CREATE VIEW {other_view} AS SELECT a, b FROM {name} WHERE a > 0"));
                maker.say(Stage::Views, format!("CREATE OR REPLACE VIEW {name} AS SELECT a, b FROM {other_view}"));
            }
        }
    }
}

pub(super) fn rest(maker: &mut Maker) {
    for at in 0..maker.tables.len() {
        on_table(maker, at);
    }
    publications(maker);
    privileges(maker);
    large_objects(maker);
    if maker.chance.percent(30) {
        let (_, server) = (maker.place(), maker.chance.name("servers"));
        let (_, foreign) = maker.place();
        let wrapper = maker.chance.name("wrappers");
        maker.say(
            Stage::Rest,
            format!("CREATE FOREIGN DATA WRAPPER {wrapper}; CREATE SERVER {server} FOREIGN DATA WRAPPER {wrapper}"),
        );
        maker.say(Stage::Rest, format!("CREATE FOREIGN TABLE {foreign} (a int NOT NULL, b text) SERVER {server}"));
        maker.remark(&format!("FOREIGN TABLE {foreign}"));
    }
    if maker.chance.percent(25) {
        let (_, guard) = maker.place();
        let name = maker.chance.name("events");
        let body = "BEGIN RAISE EXCEPTION 'nothing is to be made here any more'; END";
        maker.say(
            Stage::Last,
            format!("CREATE FUNCTION {guard}() RETURNS event_trigger LANGUAGE plpgsql AS $${body}$$"),
        );
        let tags = "'CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX', 'CREATE VIEW', 'CREATE TRIGGER'";
        let sql =
            format!("CREATE EVENT TRIGGER {name} ON ddl_command_start WHEN TAG IN ({tags}) EXECUTE FUNCTION {guard}()");
        maker.say(Stage::Last, sql);
        maker.say(Stage::Last, format!("COMMENT ON EVENT TRIGGER {name} IS 'it''s the last'"));
    }
}

fn on_table(maker: &mut Maker, at: usize) {
    let table = &maker.tables[at];
    let (name, partitioned, rows) = (table.name.clone(), table.partitioned, table.rows);
    let alone = table.space == name;
    let (int, text) = (table.of_kind(Kind::Int).cloned(), table.of_kind(Kind::Text).cloned());
    let stored = |value: &Option<super::columns::Column>| value.as_ref().map(|column| column.name.clone());
    let (int, text) = (stored(&int), stored(&text));
    if maker.chance.percent(35) {
        let trigger = maker.chance.name(&format!("{name} triggers"));
        let when = maker.chance.pick(&["BEFORE INSERT OR UPDATE", "AFTER INSERT", "AFTER UPDATE OR DELETE"]);
        let each = maker.chance.pick(&["ROW", "STATEMENT"]);
        let raises = maker.raises.clone();
        maker.say(
            Stage::Rest,
            format!("CREATE TRIGGER {trigger} {when} ON {name} FOR EACH {each} EXECUTE FUNCTION {raises}()"),
        );
        maker.remark(&format!("TRIGGER {trigger} ON {name}"));
        match maker.chance.below(5) {
            0 => maker.say(Stage::Rest, format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger}")),
            1 => maker.say(Stage::Rest, format!("ALTER TABLE {name} DISABLE TRIGGER {trigger}")),
            2 if each == "ROW" && partitioned => {
                // pg_dump does not see to it that the parent's trigger comes before what is said of the partition's: of one
                // schema they come in the order of names.
                let (schema, table) = (maker.tables[at].schema.clone(), name.clone());
                let behind = |leaf: &&String| {
                    maker.schema_of(leaf) == schema && leaf.trim_end_matches('"') > table.trim_end_matches('"')
                };
                if let Some(leaf) = maker.tables[at].leaves.iter().find(behind).cloned() {
                    maker.say(Stage::Rest, format!("ALTER TABLE {leaf} DISABLE TRIGGER {trigger}"));
                }
            }
            _ => {}
        }
    }
    if let Some(int) = &int {
        if maker.chance.percent(20) {
            let policy = maker.chance.name(&format!("{name} policies"));
            let role = maker.role();
            maker.say(
                Stage::Rest,
                format!(
                    "CREATE POLICY {policy} ON {name} FOR UPDATE TO {role} USING ({int} > 1) WITH CHECK ({int} > 2)"
                ),
            );
            let force = maker.chance.pick(&["ENABLE", "FORCE", "ENABLE"]);
            maker.say(Stage::Rest, format!("ALTER TABLE {name} {force} ROW LEVEL SECURITY"));
            maker.remark(&format!("POLICY {policy} ON {name}"));
        }
        if maker.chance.percent(15) {
            let check = maker.chance.fresh();
            maker.say(
                Stage::Rest,
                format!("ALTER TABLE {name} ADD CONSTRAINT {check} CHECK ({int} > 1000000) NOT VALID"),
            );
            maker.remark(&format!("CONSTRAINT {check} ON {name}"));
        }
        if maker.chance.percent(15) {
            maker.say(Stage::Rest, format!("ALTER TABLE {name} ALTER {int} SET STATISTICS 77"));
        }
        if let Some(text) = text.as_ref().filter(|_| maker.chance.percent(30)) {
            let (_, statistics) = maker.place();
            maker.say(
                Stage::Rest,
                format!(
                    "CREATE STATISTICS {statistics} (ndistinct, mcv) ON {int}, {text}, (lower({text})) FROM {name}"
                ),
            );
            maker.remark(&format!("STATISTICS {statistics}"));
        }
    }
    // A child of two parents that store a column in two ways cannot be restored, by pg_dump neither.
    if let Some(text) = text.filter(|_| maker.chance.percent(15) && alone) {
        maker.say(Stage::Rest, format!("ALTER TABLE {name} ALTER {text} SET STORAGE EXTERNAL"));
    }
    if maker.chance.percent(15) {
        let rule = maker.chance.name(&format!("{name} rules"));
        let event = maker.chance.pick(&["INSERT", "UPDATE", "DELETE"]);
        maker.say(Stage::Rest, format!("CREATE RULE {rule} AS ON {event} TO {name} DO INSTEAD NOTHING"));
        maker.remark(&format!("RULE {rule} ON {name}"));
    }
    if maker.chance.percent(15) {
        let role = maker.role();
        maker.say(Stage::Rest, format!("ALTER TABLE {name} OWNER TO {role}"));
    }
    if maker.chance.percent(20) {
        let role = maker.role();
        let what = match int {
            Some(int) if maker.chance.percent(50) => format!("SELECT ({int}), INSERT"),
            _ => "SELECT, UPDATE".to_owned(),
        };
        let more = maker.chance.pick(&["", " WITH GRANT OPTION"]);
        maker.say(Stage::Rest, format!("GRANT {what} ON {name} TO {role}{more}"));
    }
    if rows > 0 && maker.chance.percent(5) {
        maker.say(Stage::Rest, format!("ALTER TABLE {name} DISABLE TRIGGER ALL"));
    }
}

fn publications(maker: &mut Maker) {
    for at in 0..maker.tables.len() {
        let table = &maker.tables[at];
        let (name, partitioned) = (table.name.clone(), table.partitioned);
        let key = table.primary().map(|column| column.name.clone());
        if table.unlogged || !maker.chance.percent(10) {
            continue;
        }
        let publication = maker.chance.name("publications");
        let how = match key.filter(|_| maker.major >= 15 && !partitioned) {
            Some(key) => maker.chance.pick(&["", " (@)", " WHERE (@ IS NOT NULL)"]).replace('@', &key),
            None => String::new(),
        };
        maker.say(
            Stage::Rest,
            format!("CREATE PUBLICATION {publication} FOR TABLE {name}{how} WITH (publish = 'insert')"),
        );
        maker.remark(&format!("PUBLICATION {publication}"));
    }
    if maker.chance.percent(15) {
        let publication = maker.chance.name("publications");
        let schema = maker.schemas[maker.chance.below(maker.schemas.len())].clone();
        let what = if maker.major >= 15 { format!("TABLES IN SCHEMA {schema}") } else { "ALL TABLES".to_owned() };
        maker.say(Stage::Rest, format!("CREATE PUBLICATION {publication} FOR {what} WITH (publish = 'insert')"));
    }
}

fn privileges(maker: &mut Maker) {
    for at in 0..maker.schemas.len() {
        let schema = maker.schemas[at].clone();
        if maker.chance.percent(40) {
            let role = maker.role();
            maker.say(Stage::Rest, format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}"));
        }
        if maker.chance.percent(25) {
            let (giver, taker) = (maker.role(), maker.role());
            let what = maker.chance.pick(&["SELECT ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON FUNCTIONS"]);
            let sql = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {giver} IN SCHEMA {schema} GRANT {what} TO {taker}");
            maker.say(Stage::Rest, sql);
        }
    }
    if maker.chance.percent(30) {
        let (doubled, role) = (maker.doubled.clone(), maker.role());
        maker.say(Stage::Rest, format!("REVOKE EXECUTE ON FUNCTION {doubled}(bigint) FROM PUBLIC"));
        maker.say(Stage::Rest, format!("GRANT EXECUTE ON FUNCTION {doubled}(bigint) TO {role}"));
    }
    if maker.chance.percent(20) {
        let taker = ROLES[0];
        maker.say(Stage::Rest, format!("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {taker}"));
    }
}

fn large_objects(maker: &mut Maker) {
    if !maker.chance.percent(35) {
        return;
    }
    for object in 0..=maker.chance.below(40) {
        let oid = 90_000 + object;
        let content = format!("decode(repeat(md5('{oid}'), {}), 'hex')", maker.chance.below(200));
        maker.say(Stage::Rest, format!("DO $$ BEGIN PERFORM lo_from_bytea({oid}, {content}); END $$"));
        if maker.chance.percent(20) {
            let role = maker.role();
            maker.say(Stage::Rest, format!("GRANT SELECT ON LARGE OBJECT {oid} TO {role}"));
            maker.remark(&format!("LARGE OBJECT {oid}"));
        }
        if maker.chance.percent(10) {
            let role = maker.role();
            maker.say(Stage::Rest, format!("ALTER LARGE OBJECT {oid} OWNER TO {role}"));
        }
    }
}
