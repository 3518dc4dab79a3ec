"""Galaxy's datatype of a file, told by the end of its name."""

from __future__ import annotations

UNKNOWN = "data"

# Endings that Galaxy uses itself as the name of the datatype.
_SAME = """
a3m bam bed bigwig bmp cif csv dcm docx fasta fastq geojson gff gff3 gif gro gtf h5 h5ad
html ipynb jpg json loom mol mol2 mp3 mp4 mrc mtx newick npy npz nii1 onnx parquet pdb pdf
png pptx pqr rdata rds sam sdf smi sqlite stl svg tabular tar tif tiff toml txt vcf wav xlsx
xml yaml zip safetensors
"""
_DATATYPES = {ending: ending for ending in _SAME.split()} | {
    "fa": "fasta",
    "faa": "fasta",
    "fas": "fasta",
    "fna": "fasta",
    "fq": "fastq",
    "hdf": "h5",
    "hdf5": "h5",
    "he5": "h5",
    "htm": "html",
    "jpeg": "jpg",
    "log": "txt",
    "md": "markdown",
    "jsonl": "txt",
    "ndjson": "txt",
    "nii": "nii1",
    "nwk": "newick",
    "py": "txt",
    "rda": "rdata",
    "rst": "txt",
    "smiles": "smi",
    "tif": "tiff",
    "tsv": "tabular",
    "yml": "yaml",
    "fa.gz": "fasta.gz",
    "fasta.gz": "fasta.gz",
    "fastq.gz": "fastq.gz",
    "fq.gz": "fastq.gz",
    "gz": "gz",
    "nii.gz": "nii1.gz",
    "tar.bz2": "tar.bz2",
    "tar.gz": "tar.gz",
    "tgz": "tar.gz",
    "tsv.gz": "tabular.gz",
    "vcf.gz": "vcf_bgzip",
}
KNOWN = frozenset(_DATATYPES.values()) | {UNKNOWN}


def datatype_of(name: str) -> str:
    """Return Galaxy's datatype for a file name, `data` where its ending tells nothing.

    Capital letters are no matter. Of two endings, such as `.nii.gz`, both are looked at first.
    """
    parts = name.lower().rsplit(".", 2)
    if len(parts) == 3 and ".".join(parts[1:]) in _DATATYPES:
        return _DATATYPES[".".join(parts[1:])]
    return _DATATYPES.get(parts[-1], UNKNOWN) if len(parts) > 1 else UNKNOWN
