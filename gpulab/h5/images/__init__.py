"""Reading the image files that people have: PNG, JPEG, TIFF, NIfTI and DICOM series in a zip."""

from gpulab.h5.images.opening import open_planes
from gpulab.h5.images.planes import Planes, SourceFile

__all__ = ["Planes", "SourceFile", "open_planes"]
