#!/bin/sh
# Run once by the image, when it has made an empty cluster: the role that server and workers log in as owns its database
# and is no superuser. The superuser has no password, so it logs in from inside the container only.
set -eu
psql --set ON_ERROR_STOP=1 --username postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE bksi LOGIN PASSWORD :'password';
CREATE DATABASE bksi OWNER bksi;
ALTER ROLE postgres PASSWORD NULL;
SQL
