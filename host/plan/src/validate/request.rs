//! Downloads: where they may be sent, and with what.
//!
//! May touch: a plan's request. Must not touch: the network, a Secret.

use kubeopencode_api::plugin::{Capability, Header, HeaderValue, SecretKey, SecretText, UrlFetch};

use super::{Validator, address, unknown};
use crate::Refusal;
use crate::evaluated::{Download, SecretHeader};

/// Most bytes of the body of a request: it becomes a variable, and the kernel takes none over 128 KiB.
const MAX_BODY: usize = 64 << 10;

/// Headers in the open, and those that a Secret is part of.
type Headers = (Vec<(String, String)>, Vec<SecretHeader>);

impl Validator<'_> {
    pub(super) fn url(&mut self, url: UrlFetch) -> Result<(), Refusal> {
        self.need(Capability::Url, "fetch-url")?;
        let request = url.request;
        let address = address::url(&request.url).map_err(|e| self.refuse(e))?;
        let network = self.network(&address.host)?;
        self.warn(address.warning);
        let (headers, secret_headers) = self.headers(request.headers, &address.host)?;
        if let Some(body) = request.body.as_ref().filter(|body| body.len() > MAX_BODY || body.contains('\0'))
        {
            let bytes = body.len();
            return Err(self.refuse(format!(
                "the body of a request has {bytes} bytes; at most {MAX_BODY} are allowed, none of them zero"
            )));
        }
        if let Some(digest) = request.sha256.as_ref().filter(|digest| !is_sha256(digest)) {
            return Err(self.refuse(format!("sha256 \"{digest}\" is not 64 hex digits")));
        }
        if let Some(secret) = &request.credentials {
            self.check_credentials(secret, &address.host)?;
        }
        let path = self.path(&url.path)?;
        self.take(&path)?;
        self.out.downloads.push(Download {
            url: request.url,
            body: request.body,
            headers,
            secret_headers,
            sha256: request.sha256.map(|digest| digest.to_ascii_lowercase()),
            insecure: request.insecure_skip_tls_verify,
            unpack: url.unpack,
            timeout_seconds: request.timeout_seconds,
            credentials: request.credentials,
            path,
            mode: self.mode(url.mode),
            network,
        });
        Ok(())
    }

    /// A Secret in them goes to this host.
    fn headers(&self, headers: Vec<Header>, host: &str) -> Result<Headers, Refusal> {
        let (mut open, mut secret) = (Vec::new(), Vec::new());
        for Header { name, value } in headers {
            match value {
                HeaderValue::Value(value) => {
                    address::header(&name, &value).map_err(|e| self.refuse(e))?;
                    open.push((name, value));
                }
                HeaderValue::Secret(SecretText { before, secret: key, after }) => {
                    address::header(&name, &format!("{before}{after}")).map_err(|e| self.refuse(e))?;
                    self.check_key(&key)?;
                    self.check_credentials(&key.name, host)?;
                    let optional = key.optional || self.item.optional;
                    secret.push(SecretHeader { name, before, secret: SecretKey { optional, ..key }, after });
                }
                HeaderValue::Extended(extension) => return Err(unknown(self.item, &extension.kind)),
            }
        }
        Ok((open, secret))
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
}
