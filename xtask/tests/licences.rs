//! What is linked into tur on this platform has licences that deny.toml allows, and comes from the crate registry.

use anyhow::Result;
use xtask::{licences, tree};

#[test]
fn every_licence_is_allowed() -> Result<()> {
    let allowed = licences::allowed(&tree::read("deny.toml")?)?;
    let wrong = licences::check(&tree::metadata_in_full()?, &allowed)?;
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}

#[test]
fn nothing_that_is_banned_is_linked() -> Result<()> {
    let banned = licences::banned(&tree::read("deny.toml")?)?;
    let linked = tree::linked()?;
    assert!(
        linked.contains("\nrustls v"),
        "a tree is printed as it always was"
    );
    let wrong = licences::intruders(&linked, &banned);
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
