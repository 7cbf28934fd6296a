"""kopf's way to the API server is ours: the same address, credentials and certificates."""

import kopf
from kubernetes.aio.client import Configuration


async def credentials(configuration: Configuration) -> kopf.ConnectionInfo:
    """Read the credentials of this moment; kopf asks again when the API server refuses them."""
    header: str = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    scheme, _, token = header.rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
