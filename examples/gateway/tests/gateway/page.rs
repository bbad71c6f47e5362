//! The page in headless Chromium, as far as that is there: page-test/page.mjs, by playwright-core.

use crate::support::{Gateway, cluster, skip};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Killed when the test ends, however it does.
struct Visitors(Child);

impl Drop for Visitors {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The browser's program, with its directory: playwright-core looks along no PATH.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let named =
        |name: &str| directories.iter().map(|directory| directory.join(name)).find(|path| path.exists());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(named)
}

/// Where scripts/setup.sh puts playwright-core; GATEWAY_PAGE_TEST names another directory.
fn modules() -> Option<PathBuf> {
    let named = std::env::var_os("GATEWAY_PAGE_TEST").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page-test");
    Some(named.unwrap_or(beside)).filter(|path| path.join("node_modules/playwright-core").exists())
}

#[test]
fn the_page_ticks_and_can_be_used_by_everybody() {
    let Some(browser) = browser() else { return skip("there is no chromium to show the page") };
    // playwright-core's.
    let node = "process.exit(Number(process.versions.node.split('.')[0]) >= 20 ? 0 : 1)";
    if !Command::new("node").args(["-e", node]).status().is_ok_and(|status| status.success()) {
        return skip("there is no Node 20 or newer to look at the page");
    }
    let Some(modules) = modules() else { return skip("there is no playwright-core to look at the page") };
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::start(&cluster, &["--trust-proxy", "--limit", "0"]);
    let mut visitors = Command::new(env!("CARGO_BIN_EXE_visitors"));
    visitors.args([&gateway.address.to_string(), "8", "0", "30", "120", "likes"]).stdout(Stdio::null());
    let _visitors = Visitors(visitors.spawn().expect("start visitors"));

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-test/page.mjs");
    let mut node = Command::new("node");
    node.arg(script).env("GATEWAY", format!("http://{}", gateway.address));
    let status = node.env("BROWSER", browser).env("MODULES", modules).status();
    assert!(status.is_ok_and(|status| status.success()), "page-test/page.mjs failed");
}
