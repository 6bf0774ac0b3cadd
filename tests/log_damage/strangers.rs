//! Files that are not the log's, wherever they lie, and files of the log that are not what they should be.
