# The senders' own packages, for tests/sdk/main.rs: a line of JSON in, a line of JSON out.
#   {"do": "sign", "sender", "secret", "body", "now", "url"?} -> {"headers": {...}, "public_key"?}
#   {"do": "verify", "sender", "secret", "body", "headers", "url"?} -> {"verified": true or false}
import base64
import json
import sys
import urllib.parse
from datetime import datetime, timezone

import githubkit.webhooks
import slack_sdk.signature
import standardwebhooks.webhooks
import stripe
import twilio.request_validator
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook


def form(body):
    return dict(urllib.parse.parse_qsl(body, keep_blank_values=True))


def sign(ask):
    sender, secret, body, now = ask["sender"], ask["secret"], ask["body"], ask["now"]
    if sender == "stripe":
        made = stripe.WebhookSignature._compute_signature(f"{now}.{body}", secret)
        return {"headers": {"stripe-signature": f"t={now},v1={made}"}}
    if sender == "standard-webhooks":
        at = datetime.fromtimestamp(now, timezone.utc)
        made = standardwebhooks.webhooks.Webhook(secret).sign("msg_1", at, body)
        return {"headers": {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": made}}
    if sender == "github":
        return {"headers": {"x-hub-signature-256": githubkit.webhooks.sign(secret, body, "sha256")}}
    if sender == "slack":
        verifier = slack_sdk.signature.SignatureVerifier(secret)
        made = verifier.generate_signature(timestamp=str(now), body=body)
        return {"headers": {"x-slack-request-timestamp": str(now), "x-slack-signature": made}}
    if sender == "twilio":
        made = twilio.request_validator.RequestValidator(secret).compute_signature(ask["url"], form(body))
        return {"headers": {"x-twilio-signature": made}}
    if sender == "sendgrid":
        # The package only verifies: what is made here is right where it says so.
        key = ec.generate_private_key(ec.SECP256R1())
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        public = base64.b64encode(der).decode()
        signed = key.sign((str(now) + body).encode(), ec.ECDSA(hashes.SHA256()))
        made = base64.b64encode(signed).decode()
        webhook = EventWebhook(public)
        assert webhook.verify_signature(body, made, str(now))
        prefix = "x-twilio-email-event-webhook-"
        return {"headers": {prefix + "signature": made, prefix + "timestamp": str(now)}, "public_key": public}
    raise ValueError(sender)


def verify(ask):
    sender, secret, body, headers = ask["sender"], ask["secret"], ask["body"], ask["headers"]
    try:
        if sender == "stripe":
            stripe.WebhookSignature.verify_header(body, headers["stripe-signature"], secret, 300)
            return True
        if sender == "standard-webhooks":
            standardwebhooks.webhooks.Webhook(secret).verify(body, headers)
            return True
        if sender == "github":
            return githubkit.webhooks.verify(secret, body, headers["x-hub-signature-256"])
        if sender == "slack":
            return slack_sdk.signature.SignatureVerifier(secret).is_valid_request(body, headers)
        if sender == "twilio":
            validator = twilio.request_validator.RequestValidator(secret)
            return validator.validate(ask["url"], form(body), headers["x-twilio-signature"])
    except (stripe.SignatureVerificationError, standardwebhooks.webhooks.WebhookVerificationError):
        return False
    raise ValueError(sender)


for line in sys.stdin:
    ask = json.loads(line)
    answer = sign(ask) if ask["do"] == "sign" else {"verified": bool(verify(ask))}
    print(json.dumps(answer), flush=True)
