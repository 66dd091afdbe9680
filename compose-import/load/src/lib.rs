//! Reading Compose projects as `docker compose` reads them.
