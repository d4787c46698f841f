//! The page in a real browser: Chromium through chromedriver, over real emoji and raw pixels.
//!
//! Without the two programs the test says so on stderr and passes; with `DEEPEMBED_REQUIRE_BROWSER=1` it
//! fails, and with `DEEPEMBED_SKIP_BROWSER=1` it says so and does nothing. Screenshots go to `artifacts/` of the workspace.

mod webdriver;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data::{Dataset, Embed, PixelEmbed, Record, Rows};
use deepembed_serve::{App, Bounds, serve};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use webdriver::Browser;

/// Every so many pictures of the set are served.
const EVERY: usize = 7;

fn app() -> App {
    let dataset = Dataset::emoji().unwrap();
    let items: Vec<usize> = (0..dataset.len()).step_by(EVERY).collect();
    let model = PixelEmbed::new();
    let images: Vec<_> = items.iter().map(|&item| dataset.image(item).unwrap()).collect();
    let vectors = model.embed(&images).unwrap();
    let rows = Rows::new(&vectors, model.contract().dim).unwrap();
    let index =
        index::build(&"Flat".parse().unwrap(), rows, model.contract().metric, 0, &index::Watch::none())
            .unwrap();
    // A spiral: places need to be apart here, not to mean anything.
    let place = |row: usize| {
        let angle = row as f32 * 2.4;
        [angle.cos() * (row as f32).sqrt(), angle.sin() * (row as f32).sqrt()]
    };
    App {
        title: "Emoji".to_owned(),
        model: Arc::new(model),
        index: Arc::from(index),
        records: items.iter().map(|&item| Record::of(&dataset, item)).collect(),
        map: (0..items.len()).map(|row| (row as u64, place(row))).collect(),
        picture: Box::new(move |row| {
            dataset.bytes(items[row]).map(std::borrow::Cow::into_owned).map_err(|err| err.to_string())
        }),
        report: Some("<!doctype html><title>Report</title><p>A report.".to_owned()),
        pool: Arc::new(rayon::ThreadPoolBuilder::new().build().unwrap()),
        hosts: vec![],
        bounds: Bounds::default(),
    }
}

fn artifacts() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../artifacts");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn shot(browser: &Browser, name: &str) {
    // Cards rise into place for half a second.
    std::thread::sleep(Duration::from_millis(700));
    let picture = STANDARD.decode(browser.screenshot()).unwrap();
    std::fs::write(artifacts().join(format!("page-{name}.png")), picture).unwrap();
}

/// Results are there and their pictures loaded.
const SHOWN: &str = "document.querySelectorAll('.card').length > 0 \
     && document.getElementById('grid').getAttribute('aria-busy') === 'false' \
     && [...document.querySelectorAll('.card img')].slice(0, 6).every((img) => img.naturalWidth > 0)";

fn status(text: &str) -> String {
    format!("document.getElementById('status').textContent.includes('{text}')")
}

#[test]
fn the_page_works_in_a_browser() {
    let asked = |name: &str| std::env::var_os(name).is_some_and(|value| value == "1");
    if asked("DEEPEMBED_SKIP_BROWSER") {
        writeln!(std::io::stderr(), "SKIPPED browser test, as asked").unwrap();
        return;
    }
    let Some((chromium, chromedriver)) = webdriver::programs() else {
        let required = asked("DEEPEMBED_REQUIRE_BROWSER");
        assert!(!required, "DEEPEMBED_REQUIRE_BROWSER=1, but chromium or chromedriver is not installed");
        // Past the test harness, which would keep it to itself.
        writeln!(std::io::stderr(), "SKIPPED browser test: no chromium found").unwrap();
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = runtime.spawn(serve(app(), listener, async { drop(stopped.await) }));

    let browser = Browser::start(&chromium, &chromedriver, false);
    browser.system_theme("light");
    start(&browser, &url);
    similar(&browser);
    words(&browser);
    filter(&browser);
    upload(&browser);
    draw(&browser);
    map(&browser);
    theme(&browser);
    keyboard(&browser, &url);
    assert_eq!(browser.complaints(), [] as [serde_json::Value; 0]);
    drop(browser);

    let phone = Browser::start(&chromium, &chromedriver, true);
    phone_layout(&phone, &url);
    assert_eq!(phone.complaints(), [] as [serde_json::Value; 0]);
    drop(phone);

    stop.send(()).unwrap();
    runtime.block_on(server).unwrap().unwrap();
}

fn start(browser: &Browser, url: &str) {
    browser.open(url);
    browser.wait(SHOWN);
    assert_eq!(browser.run("return document.getElementById('title').textContent"), "Emoji");
    assert_eq!(browser.run("return document.querySelectorAll('.card').length"), 30);
    assert_eq!(browser.run("return document.getElementById('report-link').hidden"), false);
    shot(browser, "desktop-light");
    browser.click("#more");
    browser.wait("document.querySelectorAll('.card').length === 60");
}

fn similar(browser: &Browser) {
    let before = browser.run("return location.hash");
    let name = browser.run("return document.querySelector('.card .class').textContent");
    browser.click(".card");
    browser.wait(&status("Most like"));
    browser.wait(SHOWN);
    assert_eq!(browser.run("return document.getElementById('asked-name').textContent"), name);
    let scores =
        browser.run("return [...document.querySelectorAll('.score span')].map((s) => Number(s.textContent))");
    let scores: Vec<f64> = scores.as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
    assert!(scores.len() == 30 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    shot(browser, "similar-light");
    browser.back();
    browser.wait(&status("at random"));
    assert_eq!(browser.run("return location.hash"), before);
}

fn words(browser: &Browser) {
    browser.keys("/face");
    browser.wait(&status("named “face”"));
    browser.wait(SHOWN);
    let names = "[...document.querySelectorAll('.card .class')].slice(0, 5)";
    browser.wait(&format!("{names}.every((name) => name.textContent.includes('face'))"));
    browser.keys("zzzz");
    browser.wait("!document.getElementById('message').hidden");
    assert_eq!(browser.run("return document.querySelectorAll('.card').length"), 0);
    browser.keys("\u{e00c}"); // Escape
    browser.wait(&status("at random"));
}

fn filter(browser: &Browser) {
    browser.click(".chip:nth-child(2)");
    browser.wait("document.querySelector('.chip:nth-child(2)').getAttribute('aria-pressed') === 'true'");
    browser
        .wait("new Set([...document.querySelectorAll('.card .by')].map((by) => by.textContent)).size === 1");
    assert_eq!(browser.run("return location.hash.includes('camera=')"), true);
    browser.click(".chip:nth-child(1)");
    browser.wait("document.querySelector('.chip:nth-child(1)').getAttribute('aria-pressed') === 'true'");
}

fn upload(browser: &Browser) {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::emoji().unwrap();
    let item = EVERY * 100;
    let file = folder.path().join("from me.png");
    let picture = dataset.image(item).unwrap();
    image::save_buffer(&file, &picture.pixels, picture.width, picture.height, image::ColorType::Rgb8)
        .unwrap();
    browser.give_file("#file", &file);
    browser.wait(&status("Most like your picture"));
    browser.wait(SHOWN);
    assert_eq!(browser.run("return document.getElementById('asked-name').textContent"), "from me.png");
    // The picture is in the index, so it comes first.
    let first = browser.run("return document.querySelector('.card').getAttribute('href')");
    assert_eq!(first, "#/similar/100");
    // What is no picture is explained, and the page lives on.
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, "no picture").unwrap();
    browser.give_file("#file", &broken);
    browser.wait("document.getElementById('message').textContent.includes('Not a JPEG, PNG')");
    let expected: Vec<_> = browser.complaints();
    assert!(expected.iter().all(|entry| entry["message"].as_str().unwrap().contains("415")), "{expected:?}");
    paste_and_drop(browser);
}

fn paste_and_drop(browser: &Browser) {
    let made = "const canvas = document.createElement('canvas'); canvas.width = canvas.height = 32; \
         const bytes = Uint8Array.from(atob(canvas.toDataURL('image/png').split(',')[1]), (c) => c.charCodeAt(0)); \
         const box = new DataTransfer(); box.items.add(new File([bytes], 'NAME', { type: 'image/png' }));";
    browser.run(&format!(
        "{} document.body.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData: box, bubbles: true }}));",
        made.replace("NAME", "pasted.png")
    ));
    browser.wait("document.getElementById('asked-name').textContent === 'pasted.png'");
    browser.run(&format!(
        "{} for (const kind of ['dragenter', 'dragover']) document.body.dispatchEvent(new DragEvent(kind, {{ dataTransfer: box, bubbles: true, cancelable: true }})); window.box = box;",
        made.replace("NAME", "dropped.png")
    ));
    browser.wait("document.body.classList.contains('dropping')");
    browser.run("document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: window.box, bubbles: true, cancelable: true }))");
    browser.wait("document.getElementById('asked-name').textContent === 'dropped.png'");
    browser.wait("!document.body.classList.contains('dropping')");
    browser.wait(SHOWN);
}

fn draw(browser: &Browser) {
    browser.click("#draw");
    browser.wait(&status("Draw what you are looking for"));
    let [left, top, side] = canvas(browser);
    let at = |x: f64, y: f64| [left + (side as f64 * x) as i64, top + (side as f64 * y) as i64];
    browser.run("document.querySelector('#colours [aria-label=Yellow]').click()");
    browser.run("document.querySelector('#sizes [aria-label=Huge]').click()");
    browser.drag(&[
        at(0.35, 0.35),
        at(0.65, 0.35),
        at(0.65, 0.65),
        at(0.35, 0.65),
        at(0.35, 0.4),
        at(0.5, 0.5),
    ]);
    browser.wait(&status("Most like your drawing"));
    browser.wait(SHOWN);
    browser.run("document.querySelector('#colours [aria-label=Black]').click()");
    browser.run("document.querySelector('#sizes [aria-label=Medium]').click()");
    browser.drag(&[at(0.4, 0.4), at(0.405, 0.41)]);
    browser.drag(&[at(0.6, 0.4), at(0.605, 0.41)]);
    browser.drag(&[at(0.38, 0.58), at(0.45, 0.66), at(0.55, 0.66), at(0.62, 0.58)]);
    let dark = "(() => { const c = document.getElementById('sketch'); \
         return c.getContext('2d').getImageData(c.width * 0.4, c.height * 0.4, 1, 1).data[0] < 90; })()";
    browser.wait(dark);
    browser.wait(SHOWN);
    shot(browser, "drawing-light");
    for _ in 0..3 {
        browser.click("#undo");
    }
    browser.wait(&format!("!{dark}"));
    browser.click("#wipe");
    browser.wait(&status("Draw what you are looking for"));
    browser.click("#pad-close");
    browser.wait(&status("at random"));
}

/// Left, top and side of the drawing pad on the screen.
fn canvas(browser: &Browser) -> [i64; 3] {
    let place = browser.run(
        "const box = document.getElementById('sketch').getBoundingClientRect(); return [box.left, box.top, box.width].map(Math.round)",
    );
    [0, 1, 2].map(|at| place[at].as_i64().unwrap())
}

fn map(browser: &Browser) {
    browser.click("#map-link");
    browser.wait("document.getElementById('map').open && document.getElementById('map-note').textContent.includes('pictures')");
    // Thumbnails have arrived where there was bare paper: many colours are on the canvas.
    let colours = "new Set((() => { const c = document.getElementById('map-canvas'); \
         return new Uint32Array(c.getContext('2d').getImageData(c.width / 4, c.height / 4, c.width / 2, c.height / 2).data.buffer); })()).size";
    browser.wait(&format!("{colours} > 3000"));
    shot(browser, "map-light");
    let few = browser.run(&format!("return {colours}")).as_u64().unwrap();
    browser.keys("+++++++");
    browser.wait("!document.getElementById('map-card').hidden");
    browser.wait(&format!("{colours} !== {few}"));
    shot(browser, "map-near-light");
    let name = browser.run("return document.getElementById('map-class').textContent");
    browser.keys("\u{e007}"); // Enter
    browser.wait("!document.getElementById('map').open");
    browser.wait(SHOWN);
    assert_eq!(browser.run("return document.getElementById('asked-name').textContent"), name);
    browser.back();
    browser.wait("document.getElementById('map').open");
    browser.keys("\u{e00c}"); // Escape
    browser.wait("!document.getElementById('map').open");
}

fn theme(browser: &Browser) {
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = browser.run(&format!("return {paper}"));
    browser.click("#theme");
    browser.wait(&format!("{paper} !== '{}'", light.as_str().unwrap()));
    browser.reload();
    browser.wait(SHOWN);
    assert_ne!(browser.run(&format!("return {paper}")), light, "the choice is remembered");
    assert_eq!(browser.run("return document.getElementById('theme').getAttribute('aria-pressed')"), "true");
    browser.run("scrollTo(0, 0); location.hash = '#/similar/25'");
    browser.wait(&status("Most like"));
    browser.wait(SHOWN);
    shot(browser, "desktop-dark");
    browser.click("#theme");
    browser.wait(&format!("{paper} === '{}'", light.as_str().unwrap()));
    browser.system_theme("dark");
    browser.run("localStorage.clear()");
    browser.reload();
    browser.wait(SHOWN);
    assert_ne!(
        browser.run(&format!("return {paper}")),
        light,
        "the system's theme holds until another is chosen"
    );
    browser.system_theme("light");
}

fn keyboard(browser: &Browser, url: &str) {
    browser.open(&format!("{url}#/words/face"));
    browser.reload();
    browser.wait(SHOWN);
    let focused = "document.activeElement";
    browser.keys("\u{e004}"); // Tab
    browser.wait(&format!("{focused}.id === 'skip'"));
    browser.keys("\u{e007}");
    let at = format!("[...document.querySelectorAll('.card')].indexOf({focused})");
    browser.wait(&format!("{at} === 0"));
    browser.wait(&format!("getComputedStyle({focused}).outlineStyle !== 'none'"));
    browser.keys("\u{e014}\u{e014}"); // Right, Right
    browser.wait(&format!("{at} === 2"));
    browser.keys("\u{e015}"); // Down
    browser.wait(&format!("{at} > 2"));
    browser.keys("\u{e013}\u{e012}"); // Up, Left
    browser.wait(&format!("{at} === 1"));
    browser.keys("\u{e007}");
    browser.wait(&status("Most like"));
    browser.wait(SHOWN);
    browser.keys("?");
    browser.wait("document.getElementById('help').open");
    browser.keys("\u{e00c}");
    browser.wait("!document.getElementById('help').open");
    browser.keys("\u{e00c}");
    browser.wait(&status("at random"));
    // Everything that can be pressed has a name.
    let nameless = "[...document.querySelectorAll('button, a, input, select, canvas')].filter((element) => \
         !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length)).length";
    assert_eq!(browser.run(&format!("return {nameless}")), 0);
}

fn phone_layout(phone: &Browser, url: &str) {
    for (view, name) in [
        ("#/shuffle/7", "phone"),
        ("#/similar/25", "phone-similar"),
        ("#/draw", "phone-draw"),
        ("#/map", "phone-map"),
    ] {
        phone.open(&format!("{url}{view}"));
        if view.contains("/shuffle") || view.contains("/similar") {
            phone.wait(SHOWN);
        }
        phone.wait("document.documentElement.scrollWidth <= 375");
        shot(phone, name);
    }
    phone.open(&format!("{url}#/similar/25"));
    phone.wait(SHOWN);
    let small = "[...document.querySelectorAll('button, .chip, nav a')].filter((element) => element.offsetParent && element.offsetHeight < 32).length";
    assert_eq!(phone.run(&format!("return {small}")), 0, "a finger needs room");
}
