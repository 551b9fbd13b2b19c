-- Two PostgreSQL roles, so that the service owns no table and cannot drop the triggers that keep
-- events append-only:
--
--   oneself_owner    owns the tables and runs `db upgrade` and `events archive`
--   oneself_service  runs `serve` and every other command
--
-- Run it in the database of the service, as a superuser, before the first `db upgrade`; or once
-- for a database whose tables belong to another role. It can be run again. It needs psql 15 or
-- newer, and takes both passwords from the environment:
--
--   export OWNER_PASSWORD=… DATABASE_PASSWORD=…
--   psql --file models/roles.sql "dbname=… host=… user=postgres"

\set ON_ERROR_STOP on
-- A variable that is missing is a syntax error below.
\getenv owner_password OWNER_PASSWORD
\getenv service_password DATABASE_PASSWORD

BEGIN;

SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['oneself_owner', 'oneself_service']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE oneself_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE oneself_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'service_password';

-- Up to version 14, every role may create objects here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO oneself_owner;
GRANT USAGE ON SCHEMA public TO oneself_service;

-- Tables of an earlier setup with one role for everything.
SELECT format('ALTER TABLE public.%I OWNER TO oneself_owner', tablename)
  FROM pg_tables
 WHERE schemaname = 'public' AND tableowner <> 'oneself_owner'
\gexec
SELECT format('ALTER FUNCTION public.%I() OWNER TO oneself_owner', name)
  FROM unnest(ARRAY['refuse_change', 'refuse_deletion_of_security_event',
                    'refuse_deletion_of_event_link', 'refuse_change_of_security_event',
                    'refuse_deletion_of_event_erasure']) AS name
 WHERE to_regprocedure(format('public.%I()', name)) IS NOT NULL
\gexec

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO oneself_service;
-- Tables of later migrations; `db upgrade` takes back what no role needs on events.
ALTER DEFAULT PRIVILEGES FOR ROLE oneself_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO oneself_service;
SELECT format('REVOKE UPDATE, DELETE, TRUNCATE ON public.%I FROM oneself_service', tablename)
  FROM pg_tables
 WHERE schemaname = 'public'
   AND tablename IN ('security_event', 'event_link', 'event_erasure', 'event_seal')
\gexec
-- Of an erased account, whose events a trigger lets lose the client address.
SELECT 'GRANT UPDATE (source) ON public.security_event TO oneself_service'
 WHERE to_regclass('public.security_event') IS NOT NULL
\gexec
-- Sealed events may be deleted, so only the owner seals: `events archive` runs with its role.
SELECT 'REVOKE INSERT ON public.event_seal FROM oneself_service'
 WHERE to_regclass('public.event_seal') IS NOT NULL
\gexec

COMMIT;
