//! What every route answers when asked properly.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{PICTURES, ask, get, pixels, png, post, routes};
use image::ImageFormat;

#[tokio::test]
async fn a_picture_finds_itself_in_every_format() {
    let routes = routes();
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Jpeg]
    {
        let answer = post(&routes, "/api/search?k=3", common::encoded(&pixels(5), format)).await;
        assert_eq!(answer.status, 200, "{format:?}");
        let json = answer.json();
        assert_eq!(answer.ids().len(), 3);
        assert_eq!((json["score"].as_str(), json["hits"][0]["id"].as_u64()), (Some("cosine"), Some(5)));
        assert_eq!(json["hits"][0]["class"], "bottom");
        assert_eq!(json["hits"][0]["camera"], "Berta");
        assert_eq!(json["hits"][0]["path"], "squares/5.png");
        let scores: Vec<f64> =
            json["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
        assert!(scores[0] > 0.99 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let milliseconds = json["milliseconds"].as_object().unwrap();
        assert!(
            ["decode", "embed", "search"].iter().all(|part| milliseconds[*part].as_f64().unwrap() >= 0.0)
        );
    }
}

#[tokio::test]
async fn filters_leave_only_their_groups() {
    let routes = routes();
    let ids = async |query: &str| {
        let mut ids = post(&routes, &format!("/api/search?k=200&{query}"), png(0)).await.ids();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("").await, (0..12).collect::<Vec<_>>());
    assert_eq!(ids("camera=Berta").await, [1, 3, 5, 7, 9, 11]);
    assert_eq!(ids("camera=Berta&camera=Anna").await.len(), 12);
    assert_eq!(ids("category=early&camera=Anna").await, [0, 2, 4]);
}

#[tokio::test]
async fn a_stored_picture_finds_others_but_not_itself() {
    let routes = routes();
    let answer = get(&routes, "/api/similar/5?k=200").await;
    assert_eq!(answer.ids().len(), PICTURES - 1);
    assert!(!answer.ids().contains(&5));
    assert_eq!(
        (&answer.json()["query"]["id"], &answer.json()["query"]["class"]),
        (&5.into(), &"bottom".into())
    );
    // The same as sending its bytes and leaving out the first answer.
    let sent = post(&routes, "/api/search?k=200", png(5)).await.ids();
    assert_eq!(answer.ids(), sent[1..]);
    assert_eq!(get(&routes, "/api/similar/5").await.ids().len(), PICTURES - 1);
}

#[tokio::test]
async fn browsing_is_seeded_and_finds_words() {
    let routes = routes();
    let some = get(&routes, "/api/browse?seed=3&count=5").await;
    assert_eq!((some.ids().len(), &some.json()["total"]), (5, &12.into()));
    assert_eq!(some.ids(), get(&routes, "/api/browse?seed=3&count=5").await.ids());
    assert_ne!(some.ids(), get(&routes, "/api/browse?seed=4&count=5").await.ids());
    assert_eq!(get(&routes, "/api/browse?q=BOTTOM").await.ids(), [2, 5, 8, 11]);
    assert_eq!(get(&routes, "/api/browse?q=left+top&camera=Berta").await.ids(), [3, 9]);
    assert_eq!(get(&routes, "/api/browse?q=seventh").await.ids(), [7]);
    assert_eq!(get(&routes, "/api/browse?q=squares%2F4.png").await.ids(), [4]);
    let none = get(&routes, "/api/browse?q=nothing").await;
    assert_eq!((none.ids().len(), &none.json()["total"]), (0, &0.into()));
    let cut = get(&routes, "/api/browse?q=bottom&count=2").await;
    assert_eq!((cut.ids(), &cut.json()["total"]), (vec![2, 5], &4.into()));
}

#[tokio::test]
async fn info_says_what_is_served() {
    let json = get(&routes(), "/api/info").await.json();
    assert_eq!(
        (&json["title"], &json["pictures"], &json["classes"]),
        (&"Squares".into(), &12.into(), &3.into())
    );
    assert_eq!((&json["index"], &json["metric"], &json["dim"]), (&"Flat".into(), &"dot".into(), &256.into()));
    assert_eq!(json["model"]["architecture"], "pixels");
    assert_eq!(json["model"]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(
        json["cameras"],
        serde_json::json!([{"name": "Anna", "count": 6}, {"name": "Berta", "count": 6}])
    );
    assert_eq!(json["categories"], serde_json::json!([{"name": "early", "count": 6}]));
    assert_eq!((&json["map"], &json["report"]), (&12.into(), &true.into()));
}

#[tokio::test]
async fn pictures_are_sniffed_and_kept() {
    let routes = routes();
    let answer = get(&routes, "/picture/3").await;
    assert_eq!((answer.header("content-type"), &answer.body[..]), ("image/png", &png(3)[..]));
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    let again = Request::get("/picture/3").header("if-none-match", answer.header("etag"));
    let again = ask(&routes, again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let version = get(&routes, "/api/info").await.json()["version"].as_str().unwrap().to_owned();
    let kept = get(&routes, &format!("/picture/3?v={version}")).await;
    assert!(kept.header("cache-control").ends_with("immutable"));
    assert_eq!(get(&routes, "/picture/3?v=other").await.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn what_is_no_picture_is_never_shown() {
    let mut app = common::app();
    app.picture = Box::new(|_| Ok(b"<script>alert(1)</script>".to_vec()));
    let answer = get(&deepembed_serve::router(app).unwrap(), "/picture/0").await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn thumbs_are_small() {
    let mut app = common::app();
    // Noise does not compress, so the file is large.
    let noise = image::RgbImage::from_fn(800, 400, |x, y| {
        image::Rgb([
            x.wrapping_mul(y.wrapping_mul(2_654_435_761)) as u8,
            (x ^ y) as u8,
            (x * 7 + y * y) as u8,
        ])
    });
    let file = common::encoded(&noise, ImageFormat::Png);
    app.picture = Box::new(move |row| if row == 0 { Ok(file.clone()) } else { Ok(png(row)) });
    let routes = deepembed_serve::router(app).unwrap();
    let answer = get(&routes, "/thumb/0").await;
    assert_eq!(answer.header("content-type"), "image/jpeg");
    let small = image::load_from_memory(&answer.body).unwrap();
    assert_eq!((small.width(), small.height()), (256, 128));
    assert_eq!(get(&routes, "/thumb/1").await.body, png(1), "a small file is its own thumbnail");
}

#[tokio::test]
async fn the_map_comes_with_sheets() {
    let routes = routes();
    let json = get(&routes, "/api/map").await.json();
    assert_eq!(json["classes"], serde_json::json!(["top left", "top right", "bottom"]));
    assert_eq!(json["cameras"], serde_json::json!(["Anna", "Berta"]));
    assert_eq!(json["points"][4], serde_json::json!([4, 4.0, -4.0, 1, 0]));
    let sheet = get(&routes, "/sheet/0").await;
    assert_eq!(sheet.header("content-type"), "image/jpeg");
    let picture = image::load_from_memory(&sheet.body).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (768, 768));
    // Picture 0 is bright top left and dark elsewhere; picture 11 cannot be read; cell 12 is free.
    let bright = |x, y| picture.get_pixel(x, y).0[1] > 128;
    assert!(bright(8, 8) && !bright(40, 40) && bright(11 * 48 + 24, 24) && bright(12 * 48 + 24, 24));
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let routes = routes();
    let page = get(&routes, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"));
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("style="));
    let handlers = ["onclick", "onload", "onerror", "oninput", "javascript:"];
    assert!(handlers.iter().all(|handler| !html.contains(handler)));
    for (file, kind) in [
        ("style.css", "text/css"),
        ("theme.js", "text/javascript"),
        ("app.js", "text/javascript"),
        ("cards.js", "text/javascript"),
        ("draw.js", "text/javascript"),
        ("map.js", "text/javascript"),
    ] {
        let answer = get(&routes, &format!("/page/{file}")).await;
        assert!(answer.status == 200 && answer.header("content-type").starts_with(kind), "{file}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("innerHTML"), "{file}");
        let again = Request::get(format!("/page/{file}")).header("if-none-match", answer.header("etag"));
        assert_eq!(ask(&routes, again.body(Body::empty()).unwrap()).await.status, 304);
    }
}

#[tokio::test]
async fn the_report_is_in_a_sandbox() {
    let answer = get(&routes(), "/report").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").ends_with("sandbox allow-scripts"));
    assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1);
}

#[tokio::test]
async fn health_is_one_word() {
    assert_eq!(get(&routes(), "/healthz").await.body, "ok");
}
