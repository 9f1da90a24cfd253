//! What the Drive server of the tests must refuse: else the tests of the client prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::drive_client::{Client, UNIT, good, refused, said, stored, token};
use crate::services::{Drive, DriveFault, Wrong};
use jsonwebtoken::Header;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn tokens() {
    let drive = Drive::start();
    let mut client = Client::service(&drive).await;
    let about = "/drive/v3/about?fields=user";
    good(client.get(about)).await;
    refused(client.http.get(format!("{}{about}", drive.endpoint())), 401, "required").await;
    refused(client.http.get(format!("{}{about}", drive.endpoint())).bearer_auth("made-up"), 401, "authError").await;
    refused(client.get("/drive/v3/about"), 400, "required").await;
    drive.expire_tokens();
    refused(client.get(about), 401, "authError").await;

    for (claim, value, error) in [
        ("iss", json!("somebody@else"), "invalid_grant"),
        ("aud", json!("http://127.0.0.1:1/token"), "invalid_grant"),
        ("scope", json!("https://www.googleapis.com/auth/made-up"), "invalid_scope"),
        ("scope", json!(""), "invalid_scope"),
        ("exp", json!(chrono::Utc::now().timestamp() - 1), "invalid_grant"),
        ("exp", json!(chrono::Utc::now().timestamp() + 3700), "invalid_grant"),
        ("iat", json!(chrono::Utc::now().timestamp() + 3000), "invalid_grant"),
    ] {
        let mut claims = client.claims();
        claims[claim] = value;
        assert_eq!(client.assertion(&claims).await.unwrap_err(), error, "{claim}");
    }
    let key = jsonwebtoken::EncodingKey::from_secret(b"guess");
    let jwt = jsonwebtoken::encode(&Header::default(), &client.claims(), &key).unwrap();
    assert_eq!(client.jwt(&jwt).await.unwrap_err(), "invalid_grant");

    let key: Value = serde_json::from_str(&drive.user_token_json()).unwrap();
    drive.rotate_refresh_tokens();
    let mut next = key.clone();
    next["refresh_token"] = client.refresh(&key).await.unwrap()["refresh_token"].clone();
    assert_eq!(client.refresh(&key).await.unwrap_err(), "invalid_grant", "it was used before");
    let mut stranger = next.clone();
    stranger["client_secret"] = json!("guess");
    assert_eq!(client.refresh(&stranger).await.unwrap_err(), "invalid_client");
    client.token = token(&client.refresh(&next).await.unwrap());
    good(client.get(about)).await;
    // The scope drive.file does not do for everything.
    refused(client.get(&format!("/drive/v3/drives/{}", drive.shared_drive())), 403, "insufficientPermissions").await;
    drive.revoke();
    refused(client.get(about), 401, "authError").await;
    drive.fault(DriveFault::new(Wrong::InvalidGrant).on("POST", "/token"));
    assert_eq!(client.assertion(&client.claims()).await.unwrap_err(), "invalid_grant");
    client.assertion(&client.claims()).await.unwrap();
}

#[tokio::test]
async fn a_users_consent() {
    let drive = Drive::start();
    let client = Client::new(&drive);
    let app: Value = serde_json::from_str(&drive.client_json()).unwrap();
    let id = app["installed"]["client_id"].as_str().unwrap();
    let (challenge, verifier) = oauth2::PkceCodeChallenge::new_random_sha256();
    let redirect = "http://127.0.0.1:1234/";
    let parameters = [
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", redirect),
        ("scope", "https://www.googleapis.com/auth/drive.file"),
        ("state", "a state&"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let page = async |parameters: &[(&str, &str)]| {
        let request = client.http.get(format!("{}/auth", drive.endpoint())).query(parameters);
        let answer = request.send().await.unwrap();
        let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    };
    for (name, value) in [
        ("redirect_uri", "http://example.com/"),
        ("client_id", "made-up"),
        ("response_type", "token"),
        ("scope", "everything"),
        ("code_challenge_method", "plain"),
    ] {
        let changed = parameters.map(|pair| if pair.0 == name { (name, value) } else { pair });
        assert_eq!(page(&changed).await.0, 400, "{name}");
    }
    let code = async || {
        let (status, location) = page(&parameters).await;
        assert_eq!(status, 302);
        let query = location.strip_prefix("http://127.0.0.1:1234/?").unwrap();
        assert!(query.starts_with("state=a%20state%26&code="), "{query}");
        let code = query.split("code=").nth(1).unwrap().split('&').next().unwrap();
        percent_encoding::percent_decode_str(code).decode_utf8().unwrap().into_owned()
    };
    let secret = app["installed"]["client_secret"].as_str().unwrap();
    let exchange = async |code: &str, redirect: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", id),
            ("client_secret", secret),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        client.grant(&form).await
    };
    let wrong = "x".repeat(43);
    assert_eq!(exchange(&code().await, redirect, &wrong).await.unwrap_err(), "invalid_grant");
    let other = "http://127.0.0.1:1235/";
    assert_eq!(exchange(&code().await, other, verifier.secret()).await.unwrap_err(), "redirect_uri_mismatch");
    let once = code().await;
    let tokens = exchange(&once, redirect, verifier.secret()).await.unwrap();
    assert!(tokens["refresh_token"].is_string() && tokens["access_token"].is_string());
    assert_eq!(exchange(&once, redirect, verifier.secret()).await.unwrap_err(), "invalid_grant", "a code is for once");
    drive.user_agrees(false);
    assert_eq!(page(&parameters).await.1, "http://127.0.0.1:1234/?state=a%20state%26&error=access_denied");
}

#[tokio::test]
async fn files_of_others_and_of_shared_drives() {
    let drive = Drive::start();
    let service = Client::service(&drive).await;
    let user = Client::user(&drive).await;
    let (shared, mine, strange) = (drive.shared_folder(), drive.my_folder(), drive.strange_folder());
    let get = |id: &str, more: &str| format!("/drive/v3/files/{id}?{more}");
    good(service.get(&get(&shared, "supportsAllDrives=true"))).await;
    refused(service.get(&get(&shared, "")), 404, "notFound").await;
    refused(service.get(&get(&mine, "supportsAllDrives=true")), 404, "notFound").await;
    let found = good(user.get(&get(&mine, ""))).await;
    let keys = found.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys, ["id", "kind", "mimeType", "name"], "what nobody asked for is not told");
    refused(user.get(&get(&strange, "")), 404, "notFound").await;

    let body = |parent: &str| json!({"name": "x", "parents": [parent]});
    let create = |client: &Client<'_>, parent: &str, more: &str| {
        client.ask(Method::POST, &format!("/drive/v3/files?{more}")).json(&body(parent))
    };
    refused(create(&service, &shared, ""), 404, "notFound").await;
    refused(create(&user, &strange, ""), 404, "notFound").await;
    drive.share_with_service_account(&strange);
    refused(create(&service, &strange, "supportsAllDrives=true"), 403, "storageQuotaExceeded").await;
    let path = "/upload/drive/v3/files?uploadType=resumable";
    refused(service.ask(Method::POST, path).json(&body("root")), 403, "storageQuotaExceeded").await;
    let made = good(create(&service, &shared, "supportsAllDrives=true")).await["id"].as_str().unwrap().to_owned();
    let list = |query: &str| format!("/drive/v3/files?q='{shared}'+in+parents&{query}");
    refused(service.get(&list("")), 404, "notFound").await;
    let none = good(service.get(&list("supportsAllDrives=true"))).await;
    assert_eq!(none["files"], json!([]));
    let both = "supportsAllDrives=true&includeItemsFromAllDrives=true";
    assert_eq!(good(service.get(&list(both))).await["files"][0]["id"], made.as_str());
    refused(service.get(&list(&format!("{both}&pageSize=0"))), 400, "invalidParameter").await;
    refused(service.get(&list(&format!("{both}&orderBy=colour"))), 400, "invalid").await;
    refused(service.get(&list(&format!("{both}&corpora=drive"))), 400, "invalid").await;

    let delete = |id: &str| service.ask(Method::DELETE, &format!("/drive/v3/files/{id}?supportsAllDrives=true"));
    let trash = |id: &str| {
        let request = service.ask(Method::PATCH, &format!("/drive/v3/files/{id}?supportsAllDrives=true"));
        request.json(&json!({"trashed": true}))
    };
    drive.service_account_is(Some("writer"));
    refused(trash(&made), 403, "insufficientFilePermissions").await;
    drive.service_account_is(Some("fileOrganizer"));
    good(trash(&made)).await;
    refused(delete(&made), 403, "insufficientFilePermissions").await;
    drive.service_account_is(Some("reader"));
    refused(create(&service, &shared, "supportsAllDrives=true"), 403, "insufficientFilePermissions").await;
    drive.service_account_is(Some("organizer"));
    assert_eq!(delete(&made).send().await.unwrap().status(), 204);
    assert!(drive.files(&shared).is_empty());

    drive.quota(Some(10));
    user.file(&mine, "fits", b"0123456789").await;
    let path = "/upload/drive/v3/files?uploadType=media";
    refused(user.ask(Method::POST, path).body("more"), 403, "storageQuotaExceeded").await;
}

#[tokio::test]
async fn metadata() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let create = |body: &Value| client.ask(Method::POST, "/drive/v3/files?supportsAllDrives=true").json(body);
    let id = client.ids().await;
    good(create(&json!({"id": id, "parents": [folder]}))).await;
    refused(create(&json!({"id": id, "parents": [folder]})), 409, "fileIdInUse").await;
    refused(create(&json!({"id": "1234567890abcdef", "parents": [folder]})), 400, "invalid").await;
    refused(create(&json!({"name": 1, "parents": [folder]})), 400, "invalid").await;
    refused(create(&json!({"size": "1", "parents": [folder]})), 403, "fieldNotWritable").await;
    refused(create(&json!({"parents": [folder, drive.shared_folder()]})), 400, "invalid").await;
    refused(create(&json!({"parents": [id]})), 403, "parentNotAFolder").await;
    let exact = json!({"parents": [folder], "appProperties": {"key": "x".repeat(121)}});
    let tagged = good(create(&exact)).await["id"].as_str().unwrap().to_owned();
    refused(create(&json!({"parents": [folder], "appProperties": {"key": "x".repeat(122)}})), 400, "invalid").await;
    let many = (0..31).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>();
    refused(create(&json!({"parents": [folder], "appProperties": many})), 400, "invalid").await;
    let update = |body: &Value, more: &str| {
        client.ask(Method::PATCH, &format!("/drive/v3/files/{tagged}?supportsAllDrives=true{more}")).json(body)
    };
    refused(update(&json!({"parents": [folder]}), ""), 403, "fieldNotWritable").await;
    refused(update(&json!({}), &format!("&addParents={folder}")), 403, "cannotAddParent").await;
    refused(update(&json!({"id": "x"}), ""), 403, "fieldNotWritable").await;
    let cleared = update(&json!({"appProperties": {"key": null}}), "&fields=appProperties,size");
    assert_eq!(good(cleared).await, json!({"size": "0"}));
    refused(update(&json!({}), "&fields=name,colour"), 400, "invalidParameter").await;
}

#[tokio::test]
async fn resumable_uploads() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let id = client.ids().await;
    let metadata = json!({"id": id, "name": "x", "parents": [folder]});
    let session = client.begin(&metadata).await;
    let ask = |range: &str| client.put(&session, range, Vec::new());
    let data = (0..3 * UNIT + 5).map(|n| (n / 7) as u8).collect::<Vec<_>>();
    let part = |first: usize, last: usize, total: &str| {
        client.put(&session, &format!("{first}-{}/{total}", last - 1), data[first..last].to_vec())
    };
    assert_eq!(said(ask("*/*")).await, (308, None), "nothing is stored");
    assert_eq!(said(part(0, UNIT, "*")).await, stored(UNIT));
    assert_eq!(said(part(UNIT, UNIT + 100, "*")).await.0, 400, "no multiple of 256 KiB, and not the last");
    assert_eq!(said(part(2 * UNIT, 3 * UNIT, "*")).await.0, 503, "a gap");
    assert_eq!(said(client.put(&session, "262144-524287/*", vec![0; 10])).await.0, 400, "not as long as it says");
    for range in ["", "262144-/*", "524287-262144/*", "262144-524287/300000", "*"] {
        assert_eq!(said(client.put(&session, range, vec![0; UNIT])).await.0, 400, "{range:?}");
    }
    assert_eq!(said(ask("*/*")).await, stored(UNIT), "nothing of that was stored");
    assert_eq!(said(part(0, 2 * UNIT, "*")).await, stored(2 * UNIT), "what overlaps is not stored again");
    assert_eq!(said(ask("*/1000000")).await, stored(2 * UNIT));
    assert_eq!(said(ask("*/10")).await.0, 400, "there is more already");
    assert!(drive.files(&folder).is_empty() && drive.sessions()[0].stored == 2 * UNIT as u64);
    drive.expire_tokens();
    let bad = part(2 * UNIT, 3 * UNIT, "*").bearer_auth(&client.token);
    assert_eq!(said(bad).await.0, 401, "a token that is over, though none is needed");
    let total = data.len().to_string();
    let done = good(part(2 * UNIT, data.len(), &total)).await;
    assert_eq!(done["size"], total.as_str());
    let file = drive.files(&folder).remove(0);
    assert_eq!((file.id.as_str(), drive.bytes(&id)), (id.as_str(), data.clone()));
    assert_eq!(good(ask("*/*")).await, done, "a finished upload tells its file again");
    assert_eq!(said(client.put(&format!("{session}x"), "*/*", Vec::new())).await.0, 404);

    let client = Client::service(&drive).await;
    let path = "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true";
    refused(client.ask(Method::POST, path).json(&metadata), 409, "fileIdInUse").await;
    let known =
        client.ask(Method::POST, path).header("x-upload-content-length", "100").json(&json!({"parents": [folder]}));
    let known = known.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(said(client.put(&known, "0-49/50", vec![0; 50])).await.0, 400, "another size was said at the begin");
    let cancelled = client.http.delete(&known).send().await.unwrap();
    assert_eq!(cancelled.status().as_u16(), 499);
    assert_eq!(said(client.put(&known, "*/*", Vec::new())).await.0, 404);
    let large = client.ask(Method::POST, "/upload/drive/v3/files?uploadType=media").body(vec![0; (5 << 20) + 1]);
    assert!([403, 413].contains(&said(large).await.0));
    assert!(drive.sessions().is_empty());
}

#[tokio::test]
async fn downloads() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let id = client.file(&folder, "x", b"0123456789").await;
    let get = |range: &str| {
        let request = client.get(&format!("/drive/v3/files/{id}?alt=media&supportsAllDrives=true"));
        if range.is_empty() { request } else { request.header("range", range) }
    };
    for (range, status, text) in [
        ("", 200, "0123456789"),
        ("bytes=2-4", 206, "234"),
        ("bytes=8-100", 206, "89"),
        ("bytes=7-", 206, "789"),
        ("bytes=-3", 206, "789"),
    ] {
        let answer = get(range).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (status, text.to_owned()), "{range}");
    }
    refused(get("bytes=10-"), 416, "requestedRangeNotSatisfiable").await;
    refused(
        client.get(&format!("/drive/v3/files/{folder}?alt=media&supportsAllDrives=true")),
        403,
        "fileNotDownloadable",
    )
    .await;
    refused(client.get(&format!("/drive/v3/files/{id}?alt=media")), 404, "notFound").await;
    drive.corrupt(&id, 3);
    let bytes = get("").send().await.unwrap().bytes().await.unwrap();
    assert!(bytes != "0123456789" && bytes.len() == 10);
}

#[tokio::test]
async fn searches() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let plain = drive.insert(&folder, "Plain name", b"");
    let odd = drive.insert(&folder, r"it's a \ file", b"");
    let search = |q: &str| {
        let both = [("supportsAllDrives", "true"), ("includeItemsFromAllDrives", "true"), ("orderBy", "name")];
        client.get("/drive/v3/files").query(&both).query(&[("q", q)])
    };
    let everything = vec![odd.clone(), plain.clone()];
    for (q, found) in [
        (r"name = 'it\'s a \\ file'", vec![odd.clone()]),
        ("name = 'plain NAME'", vec![plain.clone()]),
        ("name contains 'na'", vec![plain.clone()]),
        ("name contains 'ame'", vec![]),
        ("not name = 'plain name'", vec![odd.clone()]),
        ("mimeType != 'application/vnd.google-apps.folder'", everything.clone()),
        ("trashed != true", everything.clone()),
        ("(name = 'x' or trashed=false) and not (name = 'plain name')", vec![odd.clone()]),
        ("trashed = true", vec![]),
        ("createdTime > '2020-01-01T00:00:00' and modifiedTime >= '2020-01-01T00:00:00.000Z'", everything.clone()),
        ("createdTime < '2020-01-01T00:00:00+01:00'", vec![]),
        ("appProperties has { key='a' and value='b' }", vec![]),
    ] {
        let answer = good(search(&format!("'{folder}' in parents and ({q})"))).await;
        let files = answer["files"].as_array().unwrap().iter();
        let ids = files.map(|file| file["id"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(ids, found, "{q}");
    }
    assert_eq!(good(search("trashed = false")).await["files"], json!([]), "not without naming their folder");
    for q in [
        "name = \"x\"",
        "name = 'it's'",
        r"name = 'a\b'",
        "name = 'x",
        "name 'x'",
        "name < 'x'",
        "title = 'x'",
        "trashed = 'true'",
        "trashed",
        "name = 'x' name = 'y'",
        "name = 'x' and",
        "(name = 'x'",
        "x in parents",
        "appProperties has { key='a' }",
        "createdTime > 'yesterday'",
    ] {
        refused(search(q), 400, "invalid").await;
    }
}
