"""Datasets: MedMNIST, npz files, folders of images, and the synthetic phantom; and their cache."""
