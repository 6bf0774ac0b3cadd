//! What the built programs show of themselves to whoever runs them: over HTTP, judged by Prometheus' own tools and by a
//! Prometheus that scrapes them, and by the gRPC health service of the agent's socket. Fails where the Debian package
//! `prometheus` is missing (`tests/e2e/install.sh` installs it).

mod conditions;
mod documents;
mod health;
mod listening;
mod scraped;
mod site;
