"""The API of a cluster by its kubeconfig, for scripts that measure: no more than Python has by itself."""
import base64, http.client, json, re, ssl, tempfile


class Cluster:
    """A cluster of which a kubeconfig holds certificates."""

    def __init__(self, kubeconfig):
        text = open(kubeconfig).read()
        field = lambda name: re.search(name + r':\s*"?([^\s"]+)', text).group(1)

        def file_of(name):
            with tempfile.NamedTemporaryFile(delete=False) as file:
                file.write(base64.b64decode(field(name)))
            return file.name

        self.host = field('server').removeprefix('https://')
        self.tls = ssl.create_default_context(cafile=file_of('certificate-authority-data'))
        self.tls.load_cert_chain(file_of('client-certificate-data'), file_of('client-key-data'))

    def connect(self):
        """A connection of its own."""
        return http.client.HTTPSConnection(self.host, context=self.tls)


def ask(connection, method, path, body=None, kind='application/json'):
    """Sends a request and gives the answer's JSON, if it has any."""
    connection.request(method, path, None if body is None else json.dumps(body), {'Content-Type': kind})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (answer.status, text)
    return json.loads(text) if text else None
