//! Certificates and authorities.

use std::any::Any;
use std::borrow::Cow;
use std::net::IpAddr;

use rcgen::{
    Certificate as Signed, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::super::{Entry, Outcome, integer, string, takes};
use super::keys::{PrivateKey, pem};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Object, Text, Value};

const CERTIFICATE: Type = Type::Object("sprig.certificate");

pub(super) const ROWS: &[Entry] = &[
    takes("genCA", &[Type::String, Type::Int], |scope, args| {
        let key = PrivateKey::rsa_2048(scope)?;
        authority(scope, args, &key)
    }),
    takes(
        "genCAWithKey",
        &[Type::String, Type::Int, Type::String],
        |scope, args| {
            let key = given_key(&args[2])?;
            authority(scope, args, &key)
        },
    ),
    takes(
        "genSelfSignedCert",
        &[Type::String, Type::List, Type::List, Type::Int],
        |scope, args| {
            let key = PrivateKey::rsa_2048(scope)?;
            self_signed(scope, args, &key)
        },
    ),
    takes(
        "genSelfSignedCertWithKey",
        &[Type::String, Type::List, Type::List, Type::Int, Type::String],
        |scope, args| {
            let key = given_key(&args[4])?;
            self_signed(scope, args, &key)
        },
    ),
    takes(
        "genSignedCert",
        &[Type::String, Type::List, Type::List, Type::Int, CERTIFICATE],
        |scope, args| {
            let params = parameters(scope, args)?;
            let key = PrivateKey::rsa_2048(scope)?;
            signed(params, &args[4], &key)
        },
    ),
    takes(
        "genSignedCertWithKey",
        &[
            Type::String,
            Type::List,
            Type::List,
            Type::Int,
            CERTIFICATE,
            Type::String,
        ],
        |scope, args| {
            let params = parameters(scope, args)?;
            let key = given_key(&args[5])?;
            signed(params, &args[4], &key)
        },
    ),
    takes("buildCustomCert", &[Type::String, Type::String], build),
];

/// A certificate with its key, both in PEM.
#[derive(Debug, PartialEq, Eq)]
struct Certificate {
    cert: String,
    key: String,
}

impl Object for Certificate {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("sprig.certificate")
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Cert" => Some(Value::from(self.cert.as_str())),
            "Key" => Some(Value::from(self.key.as_str())),
            _ => None,
        }
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{{{} {}}}", self.cert, self.key))
    }

    fn export(&self) -> Value {
        let entries = ["Cert", "Key"].map(|name| (Text::from(name), self.field(name).unwrap_or_default()));
        Value::map(entries)
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn given_key(value: &Value) -> Result<PrivateKey, Fault> {
    PrivateKey::from_pem(&string(value)).map_err(|err| Fault::new(format!("parsing private key: {err}")))
}

/// What certificate functions have in common: the name, and how long it is valid.
fn base(scope: &mut Scope, name: &str, days: i64) -> Result<CertificateParams, Fault> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let mut serial = [0; 16];
    scope.random(&mut serial)?;
    // A serial number is positive.
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = scope.now().as_second();
    let at = |seconds: i64| {
        OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .filter(|time| (1950..10_000).contains(&time.year()))
            .ok_or_else(|| Fault::new("cannot represent time as GeneralizedTime"))
    };
    params.not_before = at(now)?;
    params.not_after = at(now.saturating_add(days.saturating_mul(86_400)))?;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

/// The parameters of a certificate that is no authority: name, addresses, further names, days.
fn parameters(scope: &mut Scope, args: &[Value]) -> Result<CertificateParams, Fault> {
    let mut params = base(scope, &string(&args[0]), integer(&args[3]))?;
    for name in args[2].items().unwrap_or_default().iter() {
        let Value::String(text) = name else {
            return Err(Fault::new(format!(
                "error processing alternate dns name: {name} is not a string"
            )));
        };
        let name = text.to_str().into_owned().try_into();
        params.subject_alt_names.push(SanType::DnsName(name.map_err(|_| {
            Fault::new(format!(
                "x509: {} cannot be encoded as an IA5String",
                crate::format::quote(text)
            ))
        })?));
    }
    for address in args[1].items().unwrap_or_default().iter() {
        let Value::String(text) = address else {
            return Err(Fault::new(format!("error parsing ip: {address} is not a string")));
        };
        let parsed: IpAddr = text
            .to_str()
            .parse()
            .map_err(|_| Fault::new(format!("error parsing ip: {text}")))?;
        params.subject_alt_names.push(SanType::IpAddress(parsed));
    }
    Ok(params)
}

fn failed(err: impl std::fmt::Display) -> Fault {
    Fault::new(format!("error creating certificate: {err}"))
}

fn finished(signed: &Signed, key: &PrivateKey) -> Value {
    Value::object(Certificate {
        cert: pem("CERTIFICATE", signed.der()),
        key: key.to_pem(),
    })
}

fn signer(key: &PrivateKey) -> Result<KeyPair, Fault> {
    key.signer().map_err(failed)
}

fn authority(scope: &mut Scope, args: &[Value], key: &PrivateKey) -> Outcome {
    let mut params = base(scope, &string(&args[0]), integer(&args[1]))?;
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Ok(finished(&params.self_signed(&signer(key)?).map_err(failed)?, key))
}

fn self_signed(scope: &mut Scope, args: &[Value], key: &PrivateKey) -> Outcome {
    let params = parameters(scope, args)?;
    Ok(finished(&params.self_signed(&signer(key)?).map_err(failed)?, key))
}

fn signed(mut params: CertificateParams, authority: &Value, key: &PrivateKey) -> Outcome {
    let Some(authority) = authority.downcast::<Certificate>() else {
        return Err(Fault::new("unable to decode certificate"));
    };
    let authority_key = PrivateKey::from_pem(&authority.key)
        .map_err(|err| Fault::new(format!("error parsing private key: {err}")))?;
    let issuer = Issuer::from_ca_cert_pem(&authority.cert, signer(&authority_key)?)
        .map_err(|err| Fault::new(format!("error parsing certificate: certificate.Parse: {err}")))?;
    params.use_authority_key_identifier_extension = true;
    Ok(finished(
        &params.signed_by(&signer(key)?, &issuer).map_err(failed)?,
        key,
    ))
}

fn build(_: &mut Scope, args: &[Value]) -> Outcome {
    use base64::Engine as _;
    let decode = |value: &Value, what: &str| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(super::super::text(value));
        decoded.map_err(|_| Fault::new(format!("unable to decode base64 {what}")))
    };
    let cert = decode(&args[0], "certificate")?;
    let key = decode(&args[1], "private key")?;
    let (cert, key) = (
        String::from_utf8_lossy(&cert).into_owned(),
        String::from_utf8_lossy(&key).into_owned(),
    );
    let block = pem::parse(&cert).map_err(|_| Fault::new("unable to decode certificate"))?;
    x509_parser::parse_x509_certificate(block.contents())
        .map_err(|err| Fault::new(format!("error parsing certificate: certificate.Parse: {err}")))?;
    PrivateKey::from_pem(&key).map_err(|err| Fault::new(format!("error parsing private key: {err}")))?;
    Ok(Value::object(Certificate { cert, key }))
}
