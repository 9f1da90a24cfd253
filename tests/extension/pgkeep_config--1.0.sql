-- One table whose rows are all dumped, one of which only the user's rows are, and a sequence that is dumped too.
CREATE TABLE pgkeep_settings (name text PRIMARY KEY, value text);
SELECT pg_catalog.pg_extension_config_dump('pgkeep_settings', '');

CREATE TABLE pgkeep_rates (
    id serial PRIMARY KEY,
    pair text NOT NULL,
    rate numeric NOT NULL,
    builtin boolean NOT NULL DEFAULT false
);
INSERT INTO pgkeep_rates (pair, rate, builtin) VALUES ('EUR/USD', 1.0832, true), ('USD/COP', 4012.5, true);
SELECT pg_catalog.pg_extension_config_dump('pgkeep_rates', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('pgkeep_rates_id_seq', '');
