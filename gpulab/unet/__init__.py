"""The U-Net: network, losses, augmentation, training and export."""
