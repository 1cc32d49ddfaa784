-- Service instances and processes partitioned by business, bind rows by process: 8 parts of each, on the same server.
-- Run it as the owner of the tables, with every worker stopped and after `bksi migrate`:
--
--     psql "$BKSI_POSTGRES_DSN" --set ON_ERROR_STOP=1 --single-transaction --file partition-by-business.sql
--
-- Each part is in a schema of its own (bksi_part_0 …), so that it may be moved to a tablespace of its own, and so that
-- constraints keep the names that workers know races by. A key holds within its business; a module and what is in it
-- belong to one, so that is what it was. What a partitioned table cannot have: foreign keys to an id alone.

CREATE SCHEMA bksi_whole;
DO $$
DECLARE
    parts CONSTANT integer := 8;
    name text;
    definition text := pg_get_viewdef('process_instance_relation');
    path text;
    keys text[];
    key text;
BEGIN
    DROP VIEW process_instance_relation;
    ALTER TABLE cmdb_instance DROP CONSTRAINT fk_cmdb_instance_service_instance_id;
    ALTER TABLE cmdb_process DROP CONSTRAINT fk_cmdb_process_bk_process_id;
    FOREACH name IN ARRAY ARRAY['service_instance', 'process', 'process_bind_info'] LOOP
        EXECUTE format('ALTER TABLE %I SET SCHEMA bksi_whole', name);
        path := CASE name WHEN 'process_bind_info' THEN 'bk_process_id' ELSE 'bk_biz_id' END;
        EXECUTE format('CREATE TABLE %1$I (LIKE bksi_whole.%1$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY HASH (%2$I)', name, path);
        keys := CASE name
            WHEN 'service_instance' THEN ARRAY[
                'ALTER TABLE %s ADD CONSTRAINT pk_service_instance PRIMARY KEY (id, bk_biz_id)',
                'ALTER TABLE %s ADD CONSTRAINT uq_service_instance_natural_key UNIQUE (bk_module_id, bk_host_id, instance_key, bk_biz_id)']
            WHEN 'process' THEN ARRAY[
                'ALTER TABLE %s ADD CONSTRAINT pk_process PRIMARY KEY (bk_process_id, bk_biz_id)',
                'ALTER TABLE %s ADD CONSTRAINT uq_process_bk_process_name UNIQUE (service_instance_id, bk_process_name, bk_biz_id)',
                'ALTER TABLE %s ADD CONSTRAINT uq_process_func_name_start_regex UNIQUE (service_instance_id, bk_func_name, bk_start_param_regex, bk_biz_id)',
                'CREATE UNIQUE INDEX uq_process_process_template_id ON %s (service_instance_id, process_template_id, bk_biz_id) WHERE process_template_id > 0']
            ELSE ARRAY['ALTER TABLE %s ADD CONSTRAINT pk_process_bind_info PRIMARY KEY (bk_process_id, template_row_id, bk_host_id)']
        END;
        FOREACH key IN ARRAY keys LOOP EXECUTE format(key, format('public.%I', name)); END LOOP;
        FOR part IN 0 .. parts - 1 LOOP
            EXECUTE format('CREATE SCHEMA IF NOT EXISTS bksi_part_%s', part);
            EXECUTE format('CREATE TABLE bksi_part_%1$s.%2$I (LIKE public.%2$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, name);
            FOREACH key IN ARRAY keys LOOP EXECUTE format(key, format('bksi_part_%s.%I', part, name)); END LOOP;
            EXECUTE format('ALTER TABLE public.%1$I ATTACH PARTITION bksi_part_%2$s.%1$I FOR VALUES WITH (MODULUS %3$s, REMAINDER %2$s)', name, part, parts);
        END LOOP;
        EXECUTE format('INSERT INTO %1$I SELECT * FROM bksi_whole.%1$I', name);
    END LOOP;
    ALTER TABLE process ADD CONSTRAINT fk_process_service_instance_id
        FOREIGN KEY (service_instance_id, bk_biz_id) REFERENCES service_instance (id, bk_biz_id);
    EXECUTE 'CREATE VIEW process_instance_relation AS ' || definition;
END $$;
DROP SCHEMA bksi_whole CASCADE;
ANALYZE service_instance, process, process_bind_info;
