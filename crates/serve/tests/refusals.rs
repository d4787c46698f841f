//! What is refused, how, and that the server lives on.

mod common;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use common::{Odd, ask, get, png, post, routes};
use data::{EmbedError, PixelEmbed};
use deepembed_serve::{App, ServeError, router, serve};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn with(change: impl FnOnce(&mut App)) -> Router {
    let mut app = common::app();
    change(&mut app);
    router(app).unwrap()
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn numbers_are_checked() {
    let routes = routes();
    for k in ["0", "201", "-1", "1.5", "", "abc", "18446744073709551616", "NaN", "+5x"] {
        let answer = post(&routes, &format!("/api/search?k={k}"), png(0)).await;
        assert_eq!(answer.problem(), code(400, "bad-number"), "{k}");
        assert_eq!(get(&routes, &format!("/api/similar/1?k={k}")).await.problem(), code(400, "bad-number"));
        assert_eq!(get(&routes, &format!("/api/browse?count={k}")).await.problem(), code(400, "bad-number"));
    }
    assert_eq!(post(&routes, "/api/search?k=1", png(0)).await.status, 200);
    assert_eq!(post(&routes, "/api/search?k=200", png(0)).await.status, 200);
}

#[tokio::test]
async fn ids_are_checked() {
    let routes = routes();
    for route in ["/picture", "/thumb", "/api/similar"] {
        for id in ["-1", "+1", "abc", "1.0", "..%2f..%2fetc%2fpasswd", "%00", "%ff", "99999999999999999999"] {
            let answer = get(&routes, &format!("{route}/{id}")).await;
            assert_eq!(answer.problem(), code(400, "bad-id"), "{route}/{id}");
        }
        for id in ["12", "18446744073709551615"] {
            assert_eq!(get(&routes, &format!("{route}/{id}")).await.problem(), code(404, "no-such-picture"));
        }
    }
    assert_eq!(get(&routes, "/sheet/1").await.problem(), code(404, "no-such-sheet"));
    assert_eq!(get(&routes, "/page/..%2fapp.rs").await.problem(), code(404, "no-such-route"));
}

#[tokio::test]
async fn parameters_are_checked() {
    let routes = routes();
    assert_eq!(post(&routes, "/api/search?kk=3", png(0)).await.problem(), code(400, "unknown-parameter"));
    assert_eq!(get(&routes, "/api/browse?k=3").await.problem(), code(400, "unknown-parameter"));
    assert_eq!(get(&routes, "/api/similar/1?camera=anna").await.problem(), code(422, "no-such-group"));
    assert_eq!(get(&routes, "/api/browse?category=").await.problem(), code(422, "no-such-group"));
}

#[tokio::test]
async fn routes_and_methods_are_checked() {
    let routes = routes();
    assert_eq!(get(&routes, "/nowhere").await.problem(), code(404, "no-such-route"));
    assert_eq!(get(&routes, "/api/search").await.problem(), code(405, "method-not-allowed"));
    assert_eq!(post(&routes, "/picture/1", "").await.problem(), code(405, "method-not-allowed"));
    let routes = with(|app| app.report = None);
    assert_eq!(get(&routes, "/report").await.problem(), code(404, "no-report"));
}

#[tokio::test]
async fn every_answer_keeps_other_sites_out() {
    let routes = routes();
    for path in
        ["/", "/page/app.js", "/api/info", "/picture/0", "/nowhere", "/picture/99", "/healthz", "/report"]
    {
        let answer = get(&routes, path).await;
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
    }
}

#[tokio::test]
async fn only_our_names_are_answered_to() {
    let routes = routes();
    let asked = async |host: &str| {
        let request = Request::get("/api/info").header("host", host).body(Body::empty()).unwrap();
        ask(&routes, request).await
    };
    assert_eq!(asked("localhost:8000").await.status, 200);
    assert_eq!(asked("pictures.example").await.status, 200);
    assert_eq!(asked("evil.example").await.problem(), code(421, "unknown-host"));
}

/// A PNG of `width x height` by its header, and no pixels.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], body: &[u8]| {
        file.extend((body.len() as u32).to_be_bytes());
        let summed = [kind.as_slice(), body].concat();
        file.extend(&summed);
        file.extend(crc(&summed).to_be_bytes());
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes()[..], &[8, 2, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    chunk(b"IEND", &[]);
    file
}

/// CRC-32 as PNG wants it, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn hostile_pictures_are_refused() {
    let routes = routes();
    let refused = async |body: Vec<u8>| post(&routes, "/api/search", body).await.problem();
    assert_eq!(refused(vec![]).await, code(415, "not-a-picture"));
    assert_eq!(
        refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()).await,
        code(415, "not-a-picture")
    );
    assert_eq!(refused(b"http://127.0.0.1/picture.png".to_vec()).await, code(415, "not-a-picture"));
    assert_eq!(refused(png_claiming(60_000, 60_000)).await, code(422, "picture-too-large"));
    assert_eq!(refused(png_claiming(8_000, 8_000)).await, code(422, "picture-too-large"));
    assert_eq!(refused(png_claiming(16, 16)).await, code(422, "picture-damaged"));
    let whole = png(0);
    for end in 8..whole.len() - 12 {
        let (status, _) = refused(whole[..end].to_vec()).await;
        assert_eq!(status, 422, "cut at {end}");
    }
    // Every byte turned over in turn: a picture or a problem, never a crash.
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0xff;
        let status = post(&routes, "/api/search?k=1", bytes).await.status.as_u16();
        assert!([200, 415, 422].contains(&status), "{status} for byte {place}");
    }
    assert_eq!(post(&routes, "/api/search", whole).await.status, 200, "the server lives on");
}

#[tokio::test]
async fn long_bodies_are_refused() {
    let routes = with(|app| app.bounds.body = 1000);
    let long = code(413, "body-too-large");
    assert_eq!(post(&routes, "/api/search", vec![0; 1001]).await.problem(), long);
    let stated = Request::post("/api/search").header("content-length", "99999999999");
    assert_eq!(ask(&routes, stated.body(Body::empty()).unwrap()).await.problem(), long);
    // A body that states no length is counted as it comes.
    let pieces = std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 400]))).take(9);
    let stream = Body::from_stream(Pieces(pieces));
    assert_eq!(post(&routes, "/api/search", stream).await.problem(), long);
    let broken = std::iter::once(Err::<Bytes, _>(std::io::Error::other("gone")));
    let broken = Body::from_stream(Pieces(broken));
    assert_eq!(post(&routes, "/api/search", broken).await.problem(), code(400, "broken-body"));
    assert_eq!(post(&routes, "/api/search", png(0)).await.status, 200);
}

/// An iterator as a stream that is always ready.
struct Pieces<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Pieces<I> {
    type Item = I::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn odd(answer: impl Fn() -> Result<Vec<f32>, EmbedError> + Send + Sync + 'static) -> Router {
    with(|app| app.model = Arc::new(Odd(PixelEmbed::new(), answer)))
}

#[tokio::test]
async fn failing_models_give_problems() {
    let routes = odd(|| Err(EmbedError::NotFinite { picture: 0 }));
    assert_eq!(post(&routes, "/api/search", png(0)).await.problem(), code(500, "embedding-failed"));
    for vector in [vec![f32::NAN; 256], vec![0.0; 512], vec![0.0; 255], vec![]] {
        let routes = odd(move || Ok(vector.clone()));
        let answer = post(&routes, "/api/search", png(0)).await;
        assert_eq!(answer.problem(), code(500, "search-failed"));
    }
    let routes = odd(|| panic!("a bug in the network"));
    for _ in 0..8 {
        // More often than there are permits: a panic gives its permit back.
        assert_eq!(post(&routes, "/api/search", png(0)).await.problem(), code(500, "internal"));
    }
    assert_eq!(get(&routes, "/healthz").await.status, 200);
}

#[tokio::test]
async fn stored_pictures_may_be_missing_or_damaged() {
    let routes = with(|app| {
        app.picture =
            Box::new(|row| if row == 0 { Err("no such file".to_owned()) } else { Ok(vec![1; 30_000]) });
    });
    let lost = code(500, "stored-picture");
    assert_eq!(get(&routes, "/picture/0").await.problem(), lost);
    assert_eq!(get(&routes, "/api/similar/0").await.problem(), lost);
    assert_eq!(get(&routes, "/api/similar/1").await.problem(), lost);
    assert_eq!(get(&routes, "/thumb/1").await.problem(), lost);
    assert_eq!(get(&routes, "/sheet/0").await.status, 200);
}

fn slow_for(time: Duration) -> impl FnOnce(&mut App) {
    move |app| {
        app.model = Arc::new(Odd(PixelEmbed::new(), move || {
            std::thread::sleep(time);
            Ok([vec![1.0], vec![0.0; 255]].concat())
        }));
    }
}

#[tokio::test]
async fn slow_answers_end_in_time() {
    let routes = with(|app| {
        slow_for(Duration::from_secs(2))(app);
        app.bounds.time = Duration::from_millis(100);
    });
    let answer = post(&routes, "/api/search", png(0)).await;
    assert_eq!(answer.problem(), code(504, "too-slow"));
    // A body that never comes is no different.
    let never = Body::from_stream(Never);
    assert_eq!(post(&routes, "/api/search", never).await.problem(), code(504, "too-slow"));
}

/// A body that never arrives.
struct Never;

impl futures_core::Stream for Never {
    type Item = Result<Bytes, std::io::Error>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn uploads_beyond_the_bound_are_told_to_come_back() {
    let routes = with(|app| {
        slow_for(Duration::from_millis(400))(app);
        app.bounds.uploads = 1;
    });
    let first = tokio::spawn({
        let routes = routes.clone();
        async move { post(&routes, "/api/search", png(0)).await.status }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = post(&routes, "/api/search", png(0)).await;
    assert_eq!((second.problem(), second.header("retry-after")), (code(503, "busy"), "1"));
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(post(&routes, "/api/search", png(0)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_more_pictures_are_embedded_at_a_time_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let routes = with(|app| {
        app.pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap());
        app.bounds.working = 2;
        app.model = Arc::new(Odd(PixelEmbed::new(), move || {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            now.fetch_sub(1, Ordering::SeqCst);
            Ok([vec![1.0], vec![0.0; 255]].concat())
        }));
    });
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let routes = routes.clone();
            tokio::spawn(async move { post(&routes, "/api/search", png(0)).await.status })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stalled_client_does_not_keep_the_server_up() {
    let mut app = common::app();
    app.bounds.time = Duration::from_millis(200);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(app, listener, async { drop(stopped.await) }));
    client.write_all(b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Le").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), server).await;
    ended.expect("the server stops").unwrap().unwrap();
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let refused = |change: fn(&mut App)| {
        let mut app = common::app();
        change(&mut app);
        router(app).unwrap_err()
    };
    let records = refused(|app| drop(app.records.pop()));
    assert!(matches!(records, ServeError::Records { rows: 12, records: 11 }));
    let outside = refused(|app| app.map.push((12, [0.0; 2])));
    assert!(matches!(outside, ServeError::Map { place: 12, row: 12 }));
    let nowhere = refused(|app| app.map[3].1[1] = f32::NAN);
    assert!(matches!(nowhere, ServeError::Map { place: 3, row: 3 }));
    assert!(matches!(refused(|app| app.bounds.hits = 0), ServeError::Bound("hits")));
    let wide = refused(|app| {
        let spec = "Flat".parse().unwrap();
        let rows = data::Rows::new(&[1.0; 24], 2).unwrap();
        app.index =
            Arc::from(index::build(&spec, rows, data::Metric::Dot, 0, &index::Watch::none()).unwrap());
    });
    assert!(matches!(wide, ServeError::Dim { model: 256, index: 2 }));
}
