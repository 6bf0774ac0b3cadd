//! `rodent log`: what it says of a damaged log, and what it does.
