//! The walls of the workspace: rules about layers and files, as pure functions over text.
//!
//! [`layers`] compares the table in ARCHITECTURE.md with the manifests, [`licences`] the list in deny.toml with what is
//! linked, [`hostile`] the table of hostile rows with the tests of the tree; [`tidy`] looks at each source file, [`fuzz`]
//! at what the fuzz targets link and have. All are run over the whole tree by the tests in `xtask/tests`, and each rule
//! has a test here that shows it refuse. Only [`tree`] touches the disk.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod hostile;
pub mod layers;
pub mod licences;
pub mod source;
pub mod tidy;
pub mod tree;
